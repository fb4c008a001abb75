//! TLS with a private certificate authority.

use axum::{Json, Router, routing::get};
use axum_server::tls_rustls::RustlsConfig;
use serde_json::json;
use usersync::{
    model::ErrorClass::{Permanent, Transient},
    targets::{Target, jira::JiraTarget},
};

use super::world::{not_done, settings};

#[tokio::test]
async fn a_certificate_that_does_not_verify_names_ca_file_and_ca_file_helps() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let tls = RustlsConfig::from_pem(certificate.clone().into(), key.into()).await.expect("a configuration");
    let app = Router::new().route("/rest/api/2/serverInfo", get(async || Json(json!({"version": "8.0.0"}))));
    let handle = axum_server::Handle::new();
    let address: std::net::SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let server = axum_server::bind_rustls(address, tls).handle(handle.clone()).serve(app.into_make_service());
    let task = tokio::spawn(server);
    let port = handle.listening().await.expect("a port").port();

    let mut settings = settings(&format!("https://localhost:{port}/").parse().expect("a URL"));
    settings.http.call_timeout = std::time::Duration::from_secs(10);
    let error = JiraTarget::new(settings.clone()).expect("good settings").probe().await.expect_err("unknown authority");
    assert_eq!(error.kind, not_done(Transient));
    assert!(error.text.contains("cannot be verified") && error.text.contains("ca_file"), "{}", error.text);

    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), certificate).expect("written");
    settings.http.ca_file = Some(file.path().to_owned());
    let error = JiraTarget::new(settings.clone()).expect("good settings").probe().await.expect_err("too old");
    assert_eq!(error.kind, not_done(Permanent), "{}", error.text);

    settings.base_url = format!("http://localhost:{port}/").parse().expect("a URL");
    let error = JiraTarget::new(settings).expect("good settings").probe().await.expect_err("plain text to TLS");
    assert!(!error.text.is_empty());
    task.abort();
}
