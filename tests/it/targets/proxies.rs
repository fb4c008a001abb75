//! Private certificate authorities and proxies, the same for each kind.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Router, body::Body, extract::Request, http::StatusCode, response::Response};
use axum_server::{Handle, tls_rustls::RustlsConfig};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};
use url::Url;
use usersync::{
    model::{ErrorClass, Operation},
    targets::TargetErrorKind,
};

use super::places::{self, Place, fields, soon};

/// A server in front of the target that forwards everything: a TLS terminator or a proxy.
struct Front {
    address: SocketAddr,
    passed: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Forwards a request to the target, and its answer back.
pub async fn pass_on(client: reqwest::Client, to: Url, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let mut url = to;
    url.set_path(parts.uri.path());
    url.set_query(parts.uri.query());
    let body = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
    let mut headers = parts.headers;
    headers.remove("host");
    let answer = client.request(parts.method, url).headers(headers).body(body).send().await.expect("an answer");
    let mut back = Response::builder().status(answer.status());
    for (name, value) in answer.headers().iter().filter(|(name, _)| *name != "transfer-encoding") {
        back = back.header(name, value);
    }
    back.body(Body::from(answer.bytes().await.expect("a body"))).expect("a response")
}

impl Front {
    /// Starts a front with this certificate and its key, or in plain text.
    async fn before(place: &Place, tls: Option<RustlsConfig>, passes: bool) -> Self {
        let redirects = reqwest::redirect::Policy::none();
        let client = reqwest::Client::builder().redirect(redirects).no_proxy().build().expect("a client");
        let passed = Arc::new(AtomicUsize::new(0));
        let (to, counted) = (place.url.clone(), Arc::clone(&passed));
        let app = Router::new().fallback(move |request: Request| {
            let (client, to, counted) = (client.clone(), to.clone(), Arc::clone(&counted));
            async move {
                counted.fetch_add(1, Ordering::Relaxed);
                if passes {
                    return pass_on(client, to, request).await;
                }
                let needs = "<html>Proxy Authentication Required</html>";
                let refused = Response::builder().status(StatusCode::PROXY_AUTHENTICATION_REQUIRED);
                refused.header("proxy-authenticate", "Basic").body(Body::from(needs)).expect("a response")
            }
        });
        let handle = Handle::new();
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let service = app.into_make_service();
        let task = if let Some(tls) = tls {
            let server = axum_server::bind_rustls(any, tls).handle(handle.clone());
            tokio::spawn(async move { server.serve(service).await.expect("serves") })
        } else {
            let server = axum_server::bind(any).handle(handle.clone());
            tokio::spawn(async move { server.serve(service).await.expect("serves") })
        };
        Self { address: handle.listening().await.expect("a port"), passed, task }
    }

    fn passed(&self) -> usize {
        self.passed.load(Ordering::Relaxed)
    }
}

/// Returns the URL of the place with another scheme, host and port.
pub fn instead(place: &Place, base: &str) -> Url {
    let mut url: Url = base.parse().expect("an address");
    url.set_path(place.url.path());
    url
}

pub fn create(login: &str) -> Operation {
    Operation::CreateUser { name: login.to_owned(), fields: fields("Ada", login), external_id: None }
}

async fn certificates(place: Place) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let tls = RustlsConfig::from_pem(certificate.clone().into(), key.into()).await.expect("a configuration");
    let front = Front::before(&place, Some(tls), true).await;
    let url = instead(&place, &format!("https://localhost:{}", front.address.port()));

    let calls = place.journal.entries().len();
    let stranger = place.client(url.clone(), |_| {});
    for error in [
        stranger.probe().await.expect_err("an unknown authority"),
        stranger.apply(&create("ada"), soon()).await.expect_err("an unknown authority"),
    ] {
        assert_eq!(error.kind, TargetErrorKind::NotDone(ErrorClass::Transient), "{error}");
        assert!(error.text.contains("cannot be verified") && error.text.contains("ca_file"), "{error}");
        assert!(!error.text.contains(&place.secret), "{error}");
    }
    assert_eq!((front.passed(), place.journal.entries().len()), (0, calls), "nothing is told to who is not known");

    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), certificate).expect("written");
    let known = place.client(url, |http| http.ca_file = Some(file.path().to_owned()));
    known.probe().await.expect("a first contact");
    known.apply(&create("ada"), soon()).await.expect("made");
    assert!(place.target.account_named("ada").await.expect("a look").is_some());
}

async fn proxies(place: Place) {
    let front = Front::before(&place, None, true).await;
    let proxy: Url = format!("http://{}", front.address).parse().expect("an address");
    // A name that only the proxy can resolve.
    let url = instead(&place, "http://target.invalid");
    let client = place.client(url.clone(), |http| http.proxy = Some(proxy));
    client.probe().await.expect("a first contact");
    client.apply(&create("ada"), soon()).await.expect("made");
    assert!(front.passed() >= 2);
    assert!(place.target.account_named("ada").await.expect("a look").is_some());

    let refusing = Front::before(&place, None, false).await;
    let proxy: Url = format!("http://{}", refusing.address).parse().expect("an address");
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let nobody: Url = format!("http://{closed}").parse().expect("an address");
    for (proxy, says) in [(proxy, "the proxy in front of"), (nobody.clone(), nobody.as_str().trim_end_matches('/'))] {
        let client = place.client(url.clone(), |http| http.proxy = Some(proxy));
        let error = client.apply(&create("bob"), soon()).await.expect_err("there is no way");
        assert!(matches!(error.kind, TargetErrorKind::NotDone(_)), "{error:?}");
        assert!(error.text.contains(says) && !error.text.contains(&place.secret), "{error}");
    }
    assert!(place.target.account_named("bob").await.expect("a look").is_none());
}

/// A proxy that answers a CONNECT request and then closes the connection.
async fn refusing_to_connect(status: &'static str) -> (Url, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address")).parse().expect("an address");
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = [0; 1024];
            let _ = stream.read(&mut asked).await;
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (url, task)
}

async fn tunnels(place: Place) {
    let url = instead(&place, "https://target.invalid");
    for (status, class, says) in [
        ("407 Proxy Authentication Required", ErrorClass::Credentials, "requires proxy authentication (407)"),
        ("502 Bad Gateway", ErrorClass::Transient, "cannot connect to https://target.invalid"),
    ] {
        let (proxy, task) = refusing_to_connect(status).await;
        let client = place.client(url.clone(), |http| http.proxy = Some(proxy.clone()));
        let error = client.apply(&create("bob"), soon()).await.expect_err("there is no way");
        assert_eq!(error.kind, TargetErrorKind::NotDone(class), "{error}");
        assert!(error.text.contains(says) && error.text.contains(proxy.as_str().trim_end_matches('/')), "{error}");
        task.abort();
    }
}

/// All tests for each kind.
macro_rules! kinds {
    ($($kind:ident)*) => {
        $(
            mod $kind {
                #[tokio::test]
                async fn certificates() {
                    super::certificates(super::places::$kind().await).await;
                }

                #[tokio::test]
                async fn proxies() {
                    super::proxies(super::places::$kind().await).await;
                }

                #[tokio::test]
                async fn tunnels() {
                    super::tunnels(super::places::$kind().await).await;
                }
            }
        )*
    };
}

kinds! { jira confluence bitbucket crowd scim }
