//! Alerts by e-mail: what arrives, what a mail server may refuse, and what is then done.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{
    place::Place,
    served::{STEP_TIMEOUT, Served},
};
use crate::support::smtp::{Mail, MailServer, Tls};

const PASSWORD: &str = "very-secret-password-of-mail";

/// Returns the configuration of an alert that is sent to this server.
fn alert(server: &MailServer, tls: &str, lines: &str) -> String {
    format!(
        "\n[[alert]]\nname = \"ops\"\nsmtp = \"127.0.0.1:{}\"\ntls = \"{tls}\"\nfrom = \"usersync <usersync@example.org>\"\n\
         to = [\"ops@example.org\", \"Night Shift <night@example.org>\"]\nafter = \"500ms\"\n{lines}\n",
        server.port,
    )
}

fn login() -> String {
    format!("user = \"usersync\"\npassword = \"{PASSWORD}\"")
}

fn trust(server: &MailServer) -> String {
    format!("ca_file = \"{}\"", server.ca_file().display())
}

fn place(alert: &str) -> Place {
    let mut place = Place::nowhere();
    place.configure(|text| format!("{text}{alert}"));
    place.secrets.push(PASSWORD.to_owned());
    place
}

/// Sends a test alert, and returns why it is not delivered.
async fn error(place: &Place) -> String {
    let (code, document) = place.json(&["alert", "test"]).await;
    assert_eq!((code, &document["alerts"][0]["delivered"]), (1, &Value::Bool(false)), "{document}");
    document["alerts"][0]["error"].as_str().expect("an error").to_owned()
}

/// Waits until the server has so many messages.
async fn has(server: &MailServer, count: usize, served: &Served) -> Vec<Mail> {
    let began = Instant::now();
    while server.received().len() < count {
        assert!(began.elapsed() < STEP_TIMEOUT, "{:?}\n{}", server.received(), served.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.received()
}

#[tokio::test]
async fn a_message_has_the_headers_and_the_text_that_an_administrator_needs() {
    let server = MailServer::start(Tls::Starttls).await;
    let place = place(&alert(&server, "starttls", &format!("{}\n{}", login(), trust(&server))));
    place.run(&["alert", "test"]).await.ended(0).says("alert ops    The test alert was delivered in ");
    let mails = server.received();
    let [mail] = &mails[..] else { panic!("{mails:?}") };
    assert_eq!(
        (mail.from.as_str(), &mail.to[..]),
        ("usersync@example.org", &["ops@example.org".to_owned(), "night@example.org".to_owned()][..])
    );
    assert_eq!((mail.is_encrypted, mail.login.as_ref()), (true, Some(&("usersync".to_owned(), PASSWORD.to_owned()))));
    assert_eq!(mail.header("Subject"), "usersync: test alert");
    assert_eq!(mail.header("From"), "usersync <usersync@example.org>");
    assert_eq!(mail.header("Auto-Submitted"), "auto-generated");
    assert!(mail.header("To").starts_with("ops@example.org, "), "{}", mail.data);
    let id = mail.header("Message-ID");
    assert!(id.starts_with("<alert_") && id.ends_with('>') && id.contains('@'), "{id}");
    let age = jiff::Timestamp::now().as_second()
        - jiff::fmt::rfc2822::parse(mail.header("Date")).expect("a date").timestamp().as_second();
    assert!((-5..60).contains(&age), "{}", mail.header("Date"));
    assert!(mail.body().starts_with("This is a test of usersync. Nothing is wrong.\n\nNoticed at "), "{}", mail.body());
    assert!(server.commands().iter().any(|command| command == "QUIT"), "{:?}", server.commands());
}

#[tokio::test]
async fn each_kind_of_encryption_and_of_login_works() {
    for (tls, word) in [(Tls::Starttls, "starttls"), (Tls::Implicit, "implicit"), (Tls::None, "none")] {
        let server = MailServer::start(tls).await;
        server.extensions(&["AUTH LOGIN", "8BITMIME"]);
        let trust = if tls == Tls::None { String::new() } else { trust(&server) };
        place(&alert(&server, word, &format!("{}\n{trust}", login()))).run(&["alert", "test"]).await.ended(0);
        place(&alert(&server, word, &trust)).run(&["alert", "test"]).await.ended(0);
        let mails = server.received();
        assert!(mails.iter().all(|mail| mail.is_encrypted == (tls != Tls::None)), "{word}");
        let logins: Vec<_> = mails.iter().map(|mail| mail.login.as_ref().map(|(user, _)| user.as_str())).collect();
        assert_eq!(logins, [Some("usersync"), None], "{word}");
    }
}

#[tokio::test]
async fn each_refusal_is_reported_with_the_servers_text_and_what_to_do() {
    let server = MailServer::start(Tls::None).await;
    let place = place(&alert(&server, "none", &login()));
    let name = format!("127.0.0.1:{}", server.port);
    for (command, answer, expected) in [
        ("CONNECT", "554 Go away", "refuses the connection: 554 Go away"),
        ("EHLO", "550 Not you", "refuses the connection: 550 Not you"),
        (
            "AUTH",
            "535 5.7.8 Bad password.",
            "refuses the login of usersync: 535 5.7.8 Bad password. Check user and password",
        ),
        (
            "MAIL",
            "550 Not yours",
            "refuses the sender usersync@example.org: 550 Not yours. Check from, and that the user may send as it",
        ),
        (
            "RCPT TO:<night",
            "550 5.1.1 Unknown",
            "refuses the recipient night@example.org: 550 5.1.1 Unknown. Check to. The other recipients received it",
        ),
        ("DATA", "451 Later", "refuses the message: 451 Later. Check the limits of the server"),
        ("MESSAGE", "552 Too large", "refuses the message: 552 Too large. Check the limits of the server"),
    ] {
        server.answer(command, answer);
        assert_eq!(error(&place).await, format!("{name} {expected}"));
        server.answer_as_usual();
    }
    assert_eq!(server.received().iter().map(|mail| mail.to.clone()).collect::<Vec<_>>(), [["ops@example.org"]]);
    server.answer("RCPT", "450 Greylisted");
    let both = error(&place).await;
    assert_eq!(both.matches("450 Greylisted. Check to").count(), 2, "{both}");
    server.answer_as_usual();
    for (command, expected) in [("CONNECT", ": response error: incomplete response"), ("MAIL", ": ")] {
        server.answer(command, "");
        let text = error(&place).await;
        assert!(text.starts_with(&name) && text.contains("incomplete response"), "{expected} {text}");
        server.answer_as_usual();
    }
    server.answer("CONNECT", "SSH-2.0-OpenSSH");
    let text = error(&place).await;
    assert!(text.starts_with(&name), "{text}");
    server.answer_as_usual();
    server.extensions(&["AUTH GSSAPI"]);
    assert!(error(&place).await.contains("offers neither AUTH PLAIN nor LOGIN"), "{}", error(&place).await);
}

#[tokio::test]
async fn nothing_is_sent_to_a_server_that_does_not_prove_its_name() {
    for (tls, word) in [(Tls::Starttls, "starttls"), (Tls::Implicit, "implicit")] {
        let server = MailServer::start(tls).await;
        let text = error(&place(&alert(&server, word, &login()))).await;
        assert!(text.starts_with("TLS verification failed: the certificate of 127.0.0.1:"), "{text}");
        assert!(text.ends_with("name that authority's PEM file in ca_file"), "{text}");
        let other = alert(&server, word, &format!("{}\n{}", login(), trust(&server)));
        let text = error(&place(&other.replace("127.0.0.1", "localhost"))).await;
        assert!(text.contains("TLS verification failed: the certificate of localhost:"), "{text}");
        let sent = server.commands();
        assert!(!sent.iter().any(|one| one.starts_with("AUTH") || one.starts_with("MAIL")), "{sent:?}");
    }
    let server = MailServer::start(Tls::None).await;
    let text = error(&place(&alert(&server, "starttls", &login()))).await;
    assert!(text.contains("does not offer STARTTLS. Set tls = \"implicit\""), "{text}");
    assert!(!server.commands().iter().any(|one| one.starts_with("AUTH")), "{:?}", server.commands());
}

#[tokio::test]
async fn an_invalid_ca_file_is_a_sentence() {
    let server = MailServer::start(Tls::Starttls).await;
    let place = place(&alert(&server, "starttls", "ca_file = \"usersync.toml\""));
    let text = error(&place).await;
    assert!(text.ends_with("usersync.toml holds no PEM certificate."), "{text}");
}

#[tokio::test]
async fn a_problem_is_sent_once_in_the_words_of_status_and_a_temporary_refusal_is_retried() {
    let server = MailServer::start(Tls::None).await;
    server.answer("RCPT", "451 Try again later");
    let alert = alert(&server, "none", "");
    let served = Served::configured("hold", |_| {}, |place| place.configure(|text| format!("{text}{alert}"))).await;
    let status = served.until(&["status"], 1, "not delivered").await;
    status.says("451 Try again later").says(". Next attempt ");
    server.answer_as_usual();
    let mails = has(&server, 1, &served).await;
    assert_eq!(mails[0].header("Subject"), "usersync: connector acme waits for approval (target jira)");
    let body = mails[0].body();
    let status = served.until(&["status"], 3, "Waits for its first run's approval").await;
    let sentence = body.lines().find_map(|line| line.strip_prefix("- ")).expect("a problem");
    let (sentence, _) = sentence.rsplit_once(" (since ").expect("a time");
    assert!(sentence.starts_with("Waits for its first run's approval"), "{body}\n{status}");
    assert!(body.contains("Details: usersync status --connector acme\n"), "{body}");
    served.place.run(&["status", "--connector", "acme"]).await.ended(3);
    served.place.run(&["approvals", "approve", "--connector", "acme"]).await.ended(0);
    let mails = has(&server, 2, &served).await;
    assert_eq!(mails[1].header("Subject"), "usersync: connector acme has recovered (target jira)");
}

#[tokio::test]
async fn a_refused_login_is_shown_and_not_repeated_before_a_reload_brings_another_password() {
    let server = MailServer::start(Tls::None).await;
    server.answer("AUTH PLAIN AHVzZXJzeW5jAHZlcnktc2VjcmV0", "535 Bad password");
    let alert = alert(&server, "none", &login());
    let mut served = Served::configured("hold", |_| {}, |place| place.configure(|text| format!("{text}{alert}"))).await;
    served.place.secrets.push(PASSWORD.to_owned());
    let status = served.until(&["status"], 1, "not delivered").await;
    status.says(
        "refuses the login of usersync: 535 Bad password. Check user and password. It is not retried before the next",
    );
    status.says("then send it: systemctl reload usersync");
    let (_, document) = served.place.json(&["status"]).await;
    super::schemas::assert_valid(&["status"], &document);
    assert_eq!(document["alerts"][0]["undelivered"]["again_at"], Value::Null);
    assert!(!served.log().contains("535 Bad password") && served.log().contains("not retried"), "{}", served.log());
    let logins = || server.commands().iter().filter(|one| one.starts_with("AUTH")).count();
    assert_eq!(logins(), 1);
    served.place.configure(|text| text.replace(PASSWORD, "another"));
    served.signal("-HUP");
    let mails = has(&server, 1, &served).await;
    assert_eq!(mails[0].login, Some(("usersync".to_owned(), "another".to_owned())));
    assert_eq!(logins(), 2);
}
