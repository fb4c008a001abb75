//! Delivers an alert by e-mail, to a mail server that speaks SMTP (RFC 5321).

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use lettre::{
    Message,
    message::{
        Mailbox,
        header::{ContentType, HeaderName, HeaderValue, MIME_VERSION_1_0},
    },
    transport::smtp::{
        Error,
        authentication::{Credentials, DEFAULT_MECHANISMS},
        client::{AsyncSmtpConnection, Certificate, TlsParameters},
        commands::{Data, Mail, Rcpt},
        extension::ClientId,
    },
};
use secrecy::ExposeSecret as _;

use super::{
    Failed,
    text::{Text, single_line},
};
use crate::{
    clock::Clock,
    config::{EmailConfig, SmtpTls},
    http::{root_cause, trusted_pem},
};

/// Maximum number of characters of a server's text that are shown.
const SHOWN: usize = 200;
/// How long the end of a connection may take.
const QUIT: Duration = Duration::from_secs(1);

/// A way to mailboxes.
pub(super) struct Email {
    config: EmailConfig,
    tls: TlsParameters,
    timeout: Duration,
}

impl Email {
    /// Creates the client; nothing is sent yet. The error is a sentence about the invalid setting.
    pub fn new(config: &EmailConfig, timeout: Duration) -> Result<Self, String> {
        let mut tls = TlsParameters::builder(config.host.clone());
        if let Some(file) = &config.ca_file {
            let certificate = Certificate::from_pem(&trusted_pem(file)?)
                .map_err(|_| format!("ca_file {} is not a file of PEM certificates.", file.display()))?;
            tls = tls.add_root_certificate(certificate);
        }
        let tls = tls.build().map_err(|error| format!("TLS cannot be set up: {}.", root_cause(&error)))?;
        Ok(Self { config: config.clone(), tls, timeout })
    }

    /// Sends a message. If some recipients are refused, the others receive it, and it counts as refused.
    pub async fn send(&self, id: &str, text: &Text, host: &str, clock: &dyn Clock) -> Result<(), Failed> {
        let message = self.message(id, text, host, clock.now())?;
        let mut server = self.connect(&client_id(host)).await?;
        let sent = self.transmit(&mut server, &message).await;
        // The message is accepted or refused by now.
        tokio::select! {
            () = server.abort() => {}
            () = clock.sleep_real(QUIT) => {}
        }
        sent
    }

    fn message(&self, id: &str, text: &Text, host: &str, now: Timestamp) -> Result<Vec<u8>, String> {
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        let mut message = Message::builder()
            .date(SystemTime::from(now))
            .message_id(Some(format!("<{id}@{host}>")))
            .from(self.config.from.clone())
            .subject(&*text.subject)
            .header(MIME_VERSION_1_0)
            .header(ContentType::TEXT_PLAIN)
            .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()));
        for to in &self.config.to {
            message = message.to(to.clone());
        }
        let message = message.body(text.body.clone());
        message.map(|message| message.formatted()).map_err(|error| format!("the message cannot be written: {error}"))
    }

    async fn connect(&self, client: &ClientId) -> Result<AsyncSmtpConnection, Failed> {
        let EmailConfig { host, port, tls, .. } = &self.config;
        let implicit = (*tls == SmtpTls::Implicit).then(|| self.tls.clone());
        let address = (host.as_str(), *port);
        let mut server = AsyncSmtpConnection::connect_tokio1(address, Some(self.timeout), client, implicit, None)
            .await
            .map_err(|error| self.failed("the connection", "", &error))?;
        if *tls == SmtpTls::Starttls {
            if !server.can_starttls() {
                let advice = "Set tls = \"implicit\" and its port (usually 465), or tls = \"none\" for a server that \
                              is reached without a network";
                return Err(Failed::from(format!("{} does not offer STARTTLS. {advice}", self.server())));
            }
            let encrypted = server.starttls(self.tls.clone(), client).await;
            encrypted.map_err(|error| self.failed("STARTTLS", "", &error))?;
        }
        self.sign_in(&mut server).await?;
        Ok(server)
    }

    async fn sign_in(&self, server: &mut AsyncSmtpConnection) -> Result<(), Failed> {
        let Some((user, password)) = &self.config.sign_in else { return Ok(()) };
        if server.server_info().get_auth_mechanism(DEFAULT_MECHANISMS).is_none() {
            let advice = "Remove user and password, or check tls and the port";
            return Err(Failed::from(format!("{} offers neither AUTH PLAIN nor LOGIN. {advice}", self.server())));
        }
        let password = password.read().map_err(|error| format!("the password: {error}"))?;
        let credentials = Credentials::new(user.clone(), password.expose_secret().to_owned());
        let signed_in = server.auth(DEFAULT_MECHANISMS, &credentials).await;
        let advice = "Check user and password";
        signed_in.map(drop).map_err(|error| self.failed(&format!("the login of {user}"), advice, &error))
    }

    /// Sends the message to all recipients that the server accepts.
    async fn transmit(&self, server: &mut AsyncSmtpConnection, message: &[u8]) -> Result<(), Failed> {
        let from = &self.config.from.email;
        let advice = match &self.config.sign_in {
            None => "Check from. If the server requires a login, set user and password_file",
            Some(_) => "Check from, and that the user may send as it",
        };
        let began = server.command(Mail::new(Some(from.clone()), Vec::new())).await;
        began.map_err(|error| self.failed(&format!("the sender {from}"), advice, &error))?;
        let mut refused: Vec<Failed> = Vec::new();
        for Mailbox { email, .. } in &self.config.to {
            if let Err(error) = server.command(Rcpt::new(email.clone(), Vec::new())).await {
                let one = self.failed(&format!("the recipient {email}"), "Check to", &error);
                if error.status().is_none() {
                    return Err(one);
                }
                refused.push(one);
            }
        }
        if refused.len() < self.config.to.len() {
            let advice = "Check the limits of the server";
            let refused = |error| self.failed("the message", advice, &error);
            server.command(Data).await.map_err(refused)?;
            server.message(message).await.map_err(refused)?;
        }
        let reached_others = refused.len() < self.config.to.len();
        match refused.into_iter().reduce(|all, one| all.and(&one)) {
            None => Ok(()),
            // A repetition would reach the others again.
            Some(refused) if reached_others => Err(Failed {
                why: format!("{}. The other recipients received it", refused.why),
                is_final: true,
                ..refused
            }),
            Some(refused) => Err(refused),
        }
    }

    /// Describes why `what` failed, and what to do if the server refused it.
    fn failed(&self, what: &str, advice: &str, error: &Error) -> Failed {
        let server = self.server();
        let cause: String = single_line(&root_cause(error)).trim().chars().take(SHOWN).collect();
        let cause = cause.trim_end_matches('.');
        let Some(code) = error.status() else { return Failed::from(self.no_answer(cause)) };
        let advice = if advice.is_empty() { String::new() } else { format!(". {advice}") };
        let why = format!("{server} refuses {what}: {code} {cause}{advice}");
        Failed { is_final: error.is_permanent(), is_personal: true, ..Failed::from(why) }
    }

    fn no_answer(&self, cause: &str) -> String {
        let server = self.server();
        let low = cause.to_lowercase();
        if low.contains("certificate") {
            return format!(
                "TLS verification failed: the certificate of {server} cannot be verified ({cause}). If a private \
                 authority issued it, name that authority's PEM file in ca_file"
            );
        }
        let advice = match self.config.tls {
            SmtpTls::Implicit if low.contains("corrupt message") => ". Check whether it requires tls = \"starttls\"",
            _ if low.contains("incomplete response") => ". Check tls and the port",
            _ => "",
        };
        format!("{server}: {cause}{advice}")
    }

    fn server(&self) -> String {
        let EmailConfig { host, port, .. } = &self.config;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

/// Returns how usersync introduces itself. A name that is no domain is replaced by an address.
fn client_id(host: &str) -> ClientId {
    let is_domain = host.contains('.') && host.chars().all(|one| one.is_ascii_alphanumeric() || ".-".contains(one));
    if is_domain { ClientId::Domain(host.to_owned()) } else { ClientId::default() }
}
