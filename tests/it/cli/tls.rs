//! The certificate of the server, replaced while it runs.

use std::time::{Duration, Instant};

use super::{
    place::Place,
    served::{STEP_TIMEOUT, Served},
};

/// Writes a new certificate and its key; returns the certificate.
fn issue(place: &Place) -> String {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    std::fs::write(place.file("key.pem"), made.signing_key.serialize_pem()).expect("written");
    std::fs::write(place.file("cert.pem"), made.cert.pem()).expect("written");
    made.cert.pem()
}

/// Returns whether a new connection gets this certificate.
async fn shows(served: &Served, certificate: &str) -> bool {
    let certificate = reqwest::Certificate::from_pem(certificate.as_bytes()).expect("a certificate");
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([certificate]).build().expect("a client");
    let url = format!("https://localhost:{}/healthz", served.address.port());
    match client.get(url).send().await {
        Ok(answer) => answer.status() == 200,
        Err(error) => {
            assert!(format!("{error:?}").to_lowercase().contains("certificate"), "{error:?}");
            false
        }
    }
}

/// Waits until the log contains this text this many times.
async fn logged(served: &Served, text: &str, times: usize) {
    let began = Instant::now();
    while served.log().matches(text).count() < times {
        assert!(began.elapsed() < STEP_TIMEOUT, "no `{text}` in {}", served.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_certificate_is_reloaded_by_a_signal_and_a_broken_one_changes_nothing() {
    let mut first = String::new();
    let mut served = Served::configured(
        "apply",
        |_| {},
        |place| {
            first = issue(place);
            place.configure(|text| format!("{text}\n[server.tls]\ncert_file = \"cert.pem\"\nkey_file = \"key.pem\"\n"));
        },
    )
    .await;
    assert!(shows(&served, &first).await);

    let second = issue(&served.place);
    assert!(shows(&served, &first).await, "nothing is reloaded before the signal");
    served.signal("-HUP");
    logged(&served, "the certificate is reloaded", 1).await;
    assert!(shows(&served, &second).await);
    assert!(!shows(&served, &first).await);

    // The file contains no certificate; a certificate that does not match the key is refused too.
    let kept = "the previous certificate stays in use";
    std::fs::write(served.place.file("cert.pem"), "no certificate").expect("written");
    served.signal("-HUP");
    logged(&served, kept, 1).await;
    assert!(shows(&served, &second).await);
    std::fs::write(served.place.file("cert.pem"), &first).expect("written");
    served.signal("-HUP");
    logged(&served, kept, 2).await;
    assert!(shows(&served, &second).await);
    let log = served.log();
    assert!(log.contains("cert.pem or its key cannot be used: "), "{log}");

    let third = issue(&served.place);
    served.signal("-HUP");
    logged(&served, "the certificate is reloaded", 2).await;
    assert!(shows(&served, &third).await);
    served.signal("-TERM");
    assert_eq!(served.child.wait().expect("ended").code(), Some(0));
}
