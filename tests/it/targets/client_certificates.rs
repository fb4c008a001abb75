//! Client certificates and proxy authentication, the same for each kind of target and for Keycloak.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Json, Router, extract::Request, routing::get};
use axum_server::{Handle, tls_rustls::RustlsConfig};
use base64::{Engine, prelude::BASE64_STANDARD};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::{RootCertStore, ServerConfig, pki_types::PrivateKeyDer, server::WebPkiClientVerifier};
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use url::Url;
use usersync::{
    config::{ClientCertificate, ProxyUser, Secret},
    keycloak::{KeycloakSettings, KeycloakSource, Source as _},
    model::ErrorClass,
    targets::TargetErrorKind,
};

use super::{
    places::{self, Place, soon},
    proxies::{create, instead, pass_on},
};

/// A certificate authority, with its issued files in a folder.
struct Authority {
    folder: TempDir,
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("ca.pem"), ca.pem()).expect("written");
        Self { folder, ca }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns a client certificate in a file with other usual content, and its key.
    fn client(&self) -> ClientCertificate {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["usersync".to_owned()]).expect("parameters");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.ca).expect("a certificate");
        let (cert_file, key_file) = (self.path("client.pem"), self.path("client.key"));
        std::fs::write(&cert_file, format!("subject=CN = usersync\n{}{}", certificate.pem(), self.ca.pem()))
            .expect("written");
        std::fs::write(&key_file, key.serialize_pem()).expect("written");
        ClientCertificate { cert_file, key_file }
    }

    /// Returns a server configuration that requires a certificate of this authority.
    fn demanding(&self) -> RustlsConfig {
        let key = KeyPair::generate().expect("a key");
        let names = vec!["localhost".to_owned(), "target.invalid".to_owned()];
        let params = CertificateParams::new(names).expect("parameters");
        let certificate = params.signed_by(&key, &self.ca).expect("a certificate");
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.der().clone()).expect("added");
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().expect("a verifier");
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let config = ServerConfig::builder().with_client_cert_verifier(verifier);
        let mut config = config.with_single_cert(vec![certificate.der().clone()], key).expect("a configuration");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        RustlsConfig::from_config(Arc::new(config))
    }
}

/// A task that ends when this is dropped.
struct Served {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(app: Router, tls: RustlsConfig) -> Served {
    let handle = Handle::new();
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let server = axum_server::bind_rustls(any, tls).handle(handle.clone());
    let task = tokio::spawn(async move { server.serve(app.into_make_service()).await.expect("serves") });
    Served { address: handle.listening().await.expect("a port"), task }
}

/// Counts requests on their way to the place.
fn before(place: &Place) -> (Router, Arc<AtomicUsize>) {
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build();
    let (client, to) = (client.expect("a client"), place.url.clone());
    let passed = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&passed);
    let app = Router::new().fallback(move |request: Request| {
        counted.fetch_add(1, Ordering::Relaxed);
        pass_on(client.clone(), to.clone(), request)
    });
    (app, passed)
}

/// A proxy that requires Basic authentication, for plain requests and for tunnels; all lead to one server.
struct Proxy {
    served: Served,
    /// Required value of `Proxy-Authorization`.
    wanted: Arc<Mutex<String>>,
    let_through: Arc<AtomicUsize>,
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

impl Proxy {
    async fn to(server: SocketAddr, user: &str, password: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let wanted = Arc::new(Mutex::new(basic(user, password)));
        let let_through = Arc::new(AtomicUsize::new(0));
        let (checked, counted) = (Arc::clone(&wanted), Arc::clone(&let_through));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(proxied(stream, server, Arc::clone(&checked), Arc::clone(&counted)));
            }
        });
        Self { served: Served { address, task }, wanted, let_through }
    }

    fn url(&self) -> Url {
        format!("http://{}", self.served.address).parse().expect("an address")
    }
}

/// Handles one connection; its first request decides. A plain request is forwarded with its absolute URL, which servers
/// accept too.
async fn proxied(mut stream: TcpStream, server: SocketAddr, wanted: Arc<Mutex<String>>, counted: Arc<AtomicUsize>) {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut more = [0; 4096];
        match stream.read(&mut more).await {
            Ok(0) | Err(_) => return,
            Ok(read) => head.extend_from_slice(&more[..read]),
        }
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let sent = text
        .lines()
        .find_map(|line| line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("proxy-authorization")));
    let right = sent.is_some_and(|(_, value)| value == *wanted.lock().expect("a lock"));
    if !right {
        let answer = "HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic realm=\"way out\"\r\n\
                      content-length: 0\r\nconnection: close\r\n\r\n";
        let _ = stream.write_all(answer.as_bytes()).await;
        return;
    }
    counted.fetch_add(1, Ordering::Relaxed);
    let Ok(mut onward) = TcpStream::connect(server).await else { return };
    let first = if text.starts_with("CONNECT ") {
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await
    } else {
        // So that the next request is checked too.
        let end = head.windows(4).position(|end| end == b"\r\n\r\n").unwrap_or_default();
        head.splice(end..end, *b"\r\nconnection: close");
        onward.write_all(&head).await
    };
    if first.is_ok() {
        let _ = copy_bidirectional(&mut stream, &mut onward).await;
    }
}

async fn client_certificates(place: Place) {
    let (authority, stranger, namesake) = (Authority::new("ours"), Authority::new("theirs"), Authority::new("ours"));
    let (app, passed) = before(&place);
    let server = serve(app, authority.demanding()).await;
    let url = instead(&place, &format!("https://localhost:{}", server.address.port()));
    let client = |certificate: Option<ClientCertificate>| {
        place.client(url.clone(), |http| {
            http.ca_file = Some(authority.path("ca.pem"));
            http.client_certificate = certificate;
        })
    };
    for (certificate, says) in [
        (None, "requires a client certificate. Set client_cert_file and client_key_file."),
        (Some(stranger.client()), "rejects the client certificate. Check client_cert_file"),
        (Some(namesake.client()), "rejects the client certificate. Check client_cert_file"),
    ] {
        let error = client(certificate).probe().await.expect_err("not let in");
        assert_eq!(error.kind, TargetErrorKind::NotDone(ErrorClass::Transient), "{error}");
        assert!(error.text.contains(says), "{error}");
    }
    assert_eq!(passed.load(Ordering::Relaxed), 0, "no request was read");
    let known = client(Some(authority.client()));
    known.probe().await.expect("a first contact");
    known.apply(&create("ada"), soon()).await.expect("made");
    assert!(place.target.account_named("ada").await.expect("a look").is_some());
}

/// A user name with characters that are special in URLs and forms.
const USER: &str = "way out@50%";
const PASSWORD: &str = "s3cr:t/ü%41+&";

fn file(folder: &Path, password: &str) -> Secret {
    let path = folder.join("proxy.password");
    std::fs::write(&path, format!("{password}\n")).expect("written");
    Secret::file(path)
}

async fn proxy_users(place: Place) {
    let server: SocketAddr = place.url.socket_addrs(|| None).expect("an address")[0];
    let proxy = Proxy::to(server, USER, PASSWORD).await;
    let url = instead(&place, "http://target.invalid");
    let folder = tempfile::tempdir().expect("a folder");
    let client = |user: Option<ProxyUser>| {
        place.client(url.clone(), |http| {
            http.proxy = Some(proxy.url());
            http.proxy_user = user;
            assert!(!format!("{http:?}").contains("s3cr"));
        })
    };
    let wrong = ProxyUser { user: USER.to_owned(), password: Secret::inline("wrong") };
    for user in [None, Some(wrong)] {
        let error = client(user).apply(&create("bob"), soon()).await.expect_err("not let through");
        assert_eq!(error.kind, TargetErrorKind::NotDone(ErrorClass::Credentials), "{error}");
        assert!(error.text.contains("407") && error.text.contains("proxy_user and proxy_password"), "{error}");
        assert!(!error.text.contains("wrong"), "{error}");
    }
    assert_eq!(proxy.let_through.load(Ordering::Relaxed), 0);
    let known = client(Some(ProxyUser { user: USER.to_owned(), password: file(folder.path(), PASSWORD) }));
    known.probe().await.expect("a first contact");
    known.apply(&create("ada"), soon()).await.expect("made");
    assert!(place.target.account_named("ada").await.expect("a look").is_some());
    // A rotated password is used without a restart.
    *proxy.wanted.lock().expect("a lock") = basic(USER, "another");
    file(folder.path(), "another");
    known.apply(&create("eve"), soon()).await.expect("made");
}

async fn both(place: Place) {
    let authority = Authority::new("ours");
    let (app, passed) = before(&place);
    let server = serve(app, authority.demanding()).await;
    let proxy = Proxy::to(server.address, USER, PASSWORD).await;
    let url = instead(&place, "https://target.invalid");
    let client = |password: &str| {
        place.client(url.clone(), |http| {
            http.ca_file = Some(authority.path("ca.pem"));
            http.client_certificate = Some(authority.client());
            http.proxy = Some(proxy.url());
            http.proxy_user = Some(ProxyUser { user: USER.to_owned(), password: Secret::inline(password) });
        })
    };
    let error = client("wrong").apply(&create("bob"), soon()).await.expect_err("no tunnel");
    assert_eq!(error.kind, TargetErrorKind::NotDone(ErrorClass::Credentials), "{error}");
    assert!(error.text.contains("requires proxy authentication (407)") && error.text.contains("proxy_user"), "{error}");
    let known = client(PASSWORD);
    known.probe().await.expect("a first contact");
    known.apply(&create("ada"), soon()).await.expect("made");
    assert!(proxy.let_through.load(Ordering::Relaxed) >= 1 && passed.load(Ordering::Relaxed) >= 2);
}

/// All tests for each kind.
macro_rules! kinds {
    ($($kind:ident)*) => {
        $(
            mod $kind {
                #[tokio::test]
                async fn client_certificates() {
                    super::client_certificates(super::places::$kind().await).await;
                }

                #[tokio::test]
                async fn proxy_users() {
                    super::proxy_users(super::places::$kind().await).await;
                }

                #[tokio::test]
                async fn both() {
                    super::both(super::places::$kind().await).await;
                }
            }
        )*
    };
}

kinds! { jira confluence bitbucket crowd scim }

#[tokio::test]
async fn keycloak_is_reached_with_the_same_settings() {
    let authority = Authority::new("ours");
    let token = || async { Json(json!({ "access_token": "a.e30.b", "expires_in": 60 })) };
    let app = Router::new()
        .route("/realms/acme/protocol/openid-connect/token", axum::routing::post(token))
        .route("/realms/acme", get(|| async { Json(json!({ "realm": "acme" })) }))
        .route("/admin/realms/acme/users/count", get(|| async { Json(7) }));
    let server = serve(app, authority.demanding()).await;
    let proxy = Proxy::to(server.address, USER, PASSWORD).await;
    let source = |certificate: Option<ClientCertificate>, password: &str| {
        let url = "https://target.invalid".parse().expect("an address");
        let mut settings = KeycloakSettings::new(url, "acme", "usersync", Arc::new(|| Ok("secret".into())));
        settings.connection.ca_file = Some(authority.path("ca.pem"));
        settings.connection.client_certificate = certificate;
        settings.connection.proxy = Some(proxy.url());
        settings.connection.proxy_user = Some(ProxyUser { user: USER.to_owned(), password: Secret::inline(password) });
        KeycloakSource::new(settings).expect("good settings")
    };
    let error = source(Some(authority.client()), "wrong").user_count().await.expect_err("no tunnel");
    assert!(error.text.contains("407") && error.text.contains("proxy_user"), "{error}");
    let error = source(None, PASSWORD).user_count().await.expect_err("not let in");
    assert!(error.text.contains("requires a client certificate"), "{error}");
    assert_eq!(source(Some(authority.client()), PASSWORD).user_count().await.expect("an answer"), 7);
}

#[test]
fn a_certificate_that_cannot_be_used_is_reported_with_its_setting() {
    let (authority, other) = (Authority::new("ours"), Authority::new("theirs"));
    let good = authority.client();
    good.check().expect("it can be used");
    let written = |name: &str, text: &str| {
        let path = authority.path(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let key = std::fs::read_to_string(&good.key_file).expect("a key");
    let combined = written("both.pem", &(std::fs::read_to_string(&good.cert_file).expect("a certificate") + &key));
    ClientCertificate { cert_file: combined.clone(), key_file: combined }.check().expect("one file for both");
    let with_cert = |cert_file| ClientCertificate { cert_file, ..good.clone() };
    let with_key = |key_file| ClientCertificate { key_file, ..good.clone() };
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nMIIB\n-----END RSA PRIVATE KEY-----\n";
    for (certificate, key, says) in [
        (with_cert(authority.path("none.pem")), "client_cert_file", "cannot be read: "),
        (with_key(authority.path("none.key")), "client_key_file", "cannot be read: "),
        (with_cert(written("empty.pem", "")), "client_cert_file", "holds no PEM certificate"),
        (with_key(written("empty.key", "key")), "client_key_file", "holds no PEM private key"),
        (with_key(written("encrypted.key", encrypted)), "client_key_file", "holds an encrypted key"),
        (with_key(written("old.key", old)), "client_key_file", "holds an encrypted key"),
        (with_key(other.client().key_file), "client_key_file", "does not hold the key of the certificate"),
        (
            with_cert(written("bad.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")),
            "client_cert_file",
            "cannot be used with its key",
        ),
    ] {
        let error = certificate.check().expect_err(says);
        assert_eq!(error.key(), key, "{error}");
        assert!(error.to_string().contains(says), "{error}");
        assert!(!error.to_string().contains("MIIB"), "{error}");
    }
}
