//! HTTP client shared by all targets: connection, rate, bounded answers, and the meaning of a missing answer.

mod text;

use std::{
    error::Error,
    fmt,
    num::NonZeroU32,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use jiff::{SignedDuration, Timestamp};
use reqwest::{
    Method, StatusCode,
    header::{HeaderMap, RETRY_AFTER},
};
use url::Url;

use super::{TargetError, TargetErrorKind};
use crate::{
    clock::{Clock, SystemClock},
    gate::{Gate, NoTurn, class_of, sends_again},
    http::{self, PROXY_SIGN_IN},
    http::{ClientCertificate, ProxyUser},
    meter::CallMeter,
    model::ErrorClass,
    secret::Secret,
    settings::Reach,
};

pub use crate::http::{http_date, retry_after};
pub use crate::secret::SecretProvider;
pub use text::tidy;

/// Connection settings and limits for a server.
#[derive(Clone)]
pub struct HttpSettings {
    /// A file of PEM certificates to trust in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// The client certificate that usersync presents; `None`: none.
    pub client_certificate: Option<ClientCertificate>,
    /// A proxy for all calls; `None`: a direct connection. No proxy is taken from the environment.
    pub proxy: Option<Url>,
    /// The user that authenticates at the proxy; `None`: no authentication.
    pub proxy_user: Option<ProxyUser>,
    /// Maximum number of concurrent calls.
    pub parallel: usize,
    /// Maximum number of calls started per second; `None`: unlimited.
    pub per_second: Option<NonZeroU32>,
    /// Timeout for a connection.
    pub connect_timeout: Duration,
    /// Timeout for a call, until its answer is read completely.
    pub call_timeout: Duration,
    /// Maximum size of an answer after decompression, in bytes.
    pub body_max: usize,
    /// The clock for deadlines and the server's limits.
    pub clock: Arc<dyn Clock>,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            ca_file: None,
            client_certificate: None,
            proxy: None,
            proxy_user: None,
            parallel: 8,
            per_second: None,
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(30),
            body_max: 64 << 20,
            clock: Arc::new(SystemClock),
        }
    }
}

impl From<&Reach> for HttpSettings {
    fn from(reach: &Reach) -> Self {
        Self {
            ca_file: reach.ca_file.clone(),
            client_certificate: reach.client_certificate.clone(),
            proxy: reach.proxy.clone(),
            proxy_user: reach.proxy_user.clone(),
            parallel: usize::try_from(reach.parallel.get()).unwrap_or(usize::MAX),
            per_second: reach.per_second,
            call_timeout: reach.timeout,
            ..Self::default()
        }
    }
}

/// Returns a provider that reads a configured secret each time.
pub fn provider(secret: &Secret) -> SecretProvider {
    let secret = secret.clone();
    Arc::new(move || secret.read().map_err(|error| error.to_string()))
}

/// A proxy's address may contain a password, so only its server is shown.
impl fmt::Debug for HttpSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSettings")
            .field("ca_file", &self.ca_file)
            .field("proxy", &self.proxy.as_ref().map(server))
            .field("parallel", &self.parallel)
            .field("per_second", &self.per_second)
            .finish_non_exhaustive()
    }
}

/// One call.
pub struct Call {
    /// The method.
    pub method: Method,
    /// The kind of call, for example `POST Users`. Servers limit some kinds more than others.
    pub lane: String,
    /// The URL of the call.
    pub url: Url,
    /// Headers; credentials among them are marked as sensitive.
    pub headers: HeaderMap,
    /// The body; its media type is in the headers.
    pub body: Option<Bytes>,
    /// Whether the call can change something on the server.
    pub writes: bool,
    /// The time after which nothing is sent and no answer is awaited; `None`: no deadline.
    pub deadline: Option<Timestamp>,
}

/// A query may contain a password, so it is not shown.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("method", &self.method)
            .field("server", &server(&self.url))
            .field("path", &self.url.path())
            .field("writes", &self.writes)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// A complete answer with any status.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body, decompressed.
    pub body: Bytes,
    /// Time from the first byte sent to the last byte read.
    pub took: Duration,
}

impl Answer {
    /// Returns a header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Returns the delay that the server requests (`Retry-After`).
    pub fn retry_after(&self) -> Option<jiff::SignedDuration> {
        self.header(RETRY_AFTER.as_str()).and_then(|value| retry_after(value, Timestamp::now()))
    }

    /// Whether the call had no effect and may be retried. This holds for 429, and for 503 unless it is from a proxy
    /// that lost the connection.
    pub fn is_untouched(&self) -> bool {
        self.status == StatusCode::TOO_MANY_REQUESTS
            || self.status == StatusCode::SERVICE_UNAVAILABLE && !self.mentions("disconnect/reset")
    }

    /// Whether the start of the body is text that contains these words, case-insensitively.
    pub fn mentions(&self, words: &str) -> bool {
        let start = &self.body[..self.body.len().min(4096)];
        String::from_utf8_lossy(start).to_lowercase().contains(words)
    }

    /// Whether the body is an HTML page.
    pub fn is_html(&self) -> bool {
        let typed = self.header("content-type").is_some_and(|kind| kind.to_ascii_lowercase().contains("html"));
        typed || self.body.trim_ascii_start().first() == Some(&b'<')
    }
}

/// Reason why there is no answer. The text says what happened and what to do, without the name of the operation.
#[derive(Debug)]
pub enum NoAnswer {
    /// The request was not sent.
    NotSent(ErrorClass, String),
    /// The request was not sent: calls are limited, and the next one may go after this duration.
    Limited(SignedDuration),
    /// The request may have arrived.
    Lost(String),
    /// The answer is too large to be read.
    TooLarge(String),
}

impl NoAnswer {
    /// Returns the reason for a call that reached its deadline before its turn.
    pub fn late() -> Self {
        let text = "deadline exceeded before the call was sent. usersync retries it.";
        Self::NotSent(ErrorClass::Transient, text.to_owned())
    }

    /// Returns the error class for metrics.
    fn class(&self) -> ErrorClass {
        match self {
            Self::NotSent(class, _) => *class,
            Self::Limited(_) => ErrorClass::Throttled,
            Self::Lost(_) => ErrorClass::Transient,
            Self::TooLarge(_) => ErrorClass::Unconfirmed,
        }
    }

    /// Converts the reason into an error of this call; a write may have taken effect.
    pub fn into_error(self, what: &str, writes: bool) -> TargetError {
        let class = self.class();
        let mut retry_after = None;
        let (kind, text) = match self {
            Self::NotSent(class, text) => (TargetErrorKind::NotDone(class), text),
            Self::Limited(wait) => {
                retry_after = Some(wait);
                let seconds = wait.as_secs_f64().ceil();
                let text = format!(
                    "rate limited (429, or the configured or learned pace); the next call is sent in {seconds} s. usersync tries again."
                );
                (TargetErrorKind::NotDone(class), text)
            }
            Self::Lost(text) | Self::TooLarge(text) if writes => {
                let text = format!("{text} usersync checks whether it took effect.");
                (TargetErrorKind::Unanswered, text)
            }
            Self::Lost(text) | Self::TooLarge(text) => (TargetErrorKind::NotDone(class), text),
        };
        TargetError { kind, text: format!("{what}: {text}"), retry_after }
    }
}

/// A client for one server, with timeouts, trusted certificates and rate. It follows no redirects and keeps no cookies.
#[derive(Debug)]
pub struct Http {
    client: reqwest::Client,
    gate: Gate,
    call_timeout: Duration,
    body_max: usize,
    /// The proxy that is connected to; `None`: a direct connection.
    proxy: Option<String>,
    /// Whether a client certificate is presented.
    certified: bool,
}

impl Http {
    /// Creates a client with these settings. The error is a sentence about the invalid setting.
    pub fn new(settings: &HttpSettings) -> Result<Self, String> {
        let client = http::client(http::Way {
            ca_file: settings.ca_file.as_deref(),
            certificate: settings.client_certificate.as_ref(),
            proxy: settings.proxy.as_ref(),
            proxy_user: settings.proxy_user.as_ref(),
            connect: settings.connect_timeout,
        })?;
        Ok(Self {
            client,
            gate: Gate::new(Arc::clone(&settings.clock), settings.parallel, settings.per_second),
            call_timeout: settings.call_timeout,
            body_max: settings.body_max,
            proxy: settings.proxy.as_ref().map(|proxy| format!("the proxy {}", server(proxy))),
            certified: settings.client_certificate.is_some(),
        })
    }

    /// Counts all later calls with this meter.
    pub fn attach(&self, meter: &CallMeter) {
        self.gate.attach(meter);
    }

    /// Counts a refusal of credentials.
    pub fn refused_sign_in(&self) {
        self.gate.meter().refused_sign_in();
    }

    /// Sends a call when its turn comes and reads the whole answer. A read is retried once after a broken connection. A
    /// call that the server refused temporarily had no effect. It may be retried when the server accepts calls again,
    /// if that is in time.
    pub async fn send(&self, call: &Call) -> Result<Answer, NoAnswer> {
        let latest = self.gate.latest(call.deadline);
        let mut refused: Option<Answer> = None;
        loop {
            let turn = match self.gate.enter(&call.lane, call.deadline, latest).await {
                Ok(turn) => turn,
                Err(no_turn) => return refused.ok_or_else(|| self.no_turn(no_turn)),
            };
            let mut sent = self.attempt(call).await;
            if matches!(sent, Err((NoAnswer::Lost(_), true))) && !call.writes {
                sent = self.attempt(call).await;
            }
            let answer = sent.map_err(|(why, _)| why)?;
            let again = self.gate.answered(&call.lane, turn, answer.status, &answer.headers);
            if !again || !sends_again() || call.writes && !answer.is_untouched() {
                return Ok(answer);
            }
            refused = Some(answer);
        }
    }

    /// Waits until the server accepts calls, if it refuses them temporarily.
    pub async fn until_open(&self) -> Result<(), NoAnswer> {
        self.gate.until_open(self.gate.latest(None)).await.map_err(|no_turn| self.no_turn(no_turn))
    }

    fn no_turn(&self, no_turn: NoTurn) -> NoAnswer {
        match no_turn {
            NoTurn::Late => NoAnswer::late(),
            NoTurn::Limited(until) => NoAnswer::Limited(until.duration_since(self.gate.now())),
        }
    }

    /// Makes one attempt and counts it.
    async fn attempt(&self, call: &Call) -> Result<Answer, (NoAnswer, bool)> {
        let began = Instant::now();
        let sent = self.once(call).await;
        let error = match &sent {
            Ok(answer) => class_of(answer.status),
            Err((why, _)) => Some(why.class()),
        };
        let bytes = sent.as_ref().map_or(0, |answer| answer.body.len());
        self.gate.meter().called(error, began.elapsed(), bytes);
        sent
    }

    /// Makes one attempt; the flag distinguishes a broken connection from a timeout.
    async fn once(&self, call: &Call) -> Result<Answer, (NoAnswer, bool)> {
        let left = |deadline: Timestamp| {
            Duration::try_from(deadline.duration_since(self.gate.now())).unwrap_or(Duration::ZERO)
        };
        let limit = call.deadline.map_or(self.call_timeout, |deadline| self.call_timeout.min(left(deadline)));
        if limit.is_zero() {
            let text = "deadline exceeded before the call was sent. usersync retries it.";
            return Err((NoAnswer::NotSent(ErrorClass::Transient, text.to_owned()), false));
        }
        let began = Instant::now();
        let mut request =
            self.client.request(call.method.clone(), call.url.clone()).headers(call.headers.clone()).timeout(limit);
        if let Some(body) = &call.body {
            request = request.body(body.clone());
        }
        let server = server(&call.url);
        let missing = |error: reqwest::Error| {
            let error = error.without_url();
            if let Some(what) = http::refused_certificate(&http::root_cause(&error), self.certified) {
                return (NoAnswer::NotSent(ErrorClass::Transient, format!("{server} {what}.")), false);
            }
            missing(&error, &server, self.proxy.as_deref(), limit)
        };
        let mut response = request.send().await.map_err(missing)?;
        let too_large = || {
            let text = format!("the answer of {server} is larger than {} MiB and is not read.", self.body_max >> 20);
            (NoAnswer::TooLarge(text), false)
        };
        if response.content_length().is_some_and(|length| length > self.body_max as u64) {
            return Err(too_large());
        }
        let announced = response.content_length().and_then(|length| usize::try_from(length).ok());
        let mut body = BytesMut::with_capacity(announced.unwrap_or(0).min(http::MAX_PREALLOCATED));
        while let Some(chunk) = response.chunk().await.map_err(missing)? {
            if body.len() + chunk.len() > self.body_max {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer {
            status: response.status(),
            headers: std::mem::take(response.headers_mut()),
            body: body.freeze(),
            took: began.elapsed(),
        })
    }
}

/// Returns the server's address without path and secrets.
pub fn server(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// Returns the time left until a deadline.
pub fn left(deadline: Timestamp) -> Duration {
    Duration::try_from(deadline.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO)
}

/// Interprets a transport error. Only failures during the connection prove that nothing was sent.
fn missing(error: &reqwest::Error, server: &str, proxy: Option<&str>, limit: Duration) -> (NoAnswer, bool) {
    let why = cause(error);
    if error.is_builder() {
        return (NoAnswer::NotSent(ErrorClass::Bug, format!("the request could not be written: {why}.")), false);
    }
    if error.is_connect() {
        let class = if wants_sign_in(&why) { ErrorClass::Credentials } else { ErrorClass::Transient };
        return (NoAnswer::NotSent(class, connecting(error, server, proxy, &why)), false);
    }
    if error.is_timeout() {
        let text = format!("{server} did not answer within {} s.", limit.as_secs().max(1));
        return (NoAnswer::Lost(text), false);
    }
    (NoAnswer::Lost(format!("the connection to {server} broke before the answer was complete ({why}).")), true)
}

/// Whether a proxy requires authentication before it connects (407).
fn wants_sign_in(why: &str) -> bool {
    why.to_lowercase().contains("proxy auth")
}

/// Describes why the connection failed, and what to do.
fn connecting(error: &reqwest::Error, server: &str, proxy: Option<&str>, why: &str) -> String {
    let low = why.to_lowercase();
    let first = proxy.unwrap_or(server);
    if low.contains("certificate") || low.contains("unknownissuer") {
        format!(
            "TLS verification failed: the certificate of {server} cannot be verified ({why}). If a private authority \
             issued it, name that authority's PEM file in ca_file."
        )
    } else if low.contains("tls") || low.contains("handshake") || low.contains("corrupt message") {
        format!("TLS connection to {server} failed ({why}). Check whether the address must begin with https://.")
    } else if wants_sign_in(why) {
        format!("{first} requires proxy authentication (407). {PROXY_SIGN_IN}")
    } else if low.contains("tunnel") {
        format!(
            "{first} cannot connect to {server} ({why}). Check the server's address, that it is running, and that the \
             proxy allows the connection."
        )
    } else if error.is_dns() || low.contains("dns") || low.contains("lookup") {
        format!("the name of {first} cannot be resolved ({why}). Check the address and this machine's DNS.")
    } else if error.is_timeout() || low.contains("timed out") || low.contains("deadline") {
        let way = proxy.map(|proxy| format!(" through {proxy}")).unwrap_or_default();
        format!("{server} cannot be reached{way}: connection timeout. Check the address, proxy and firewalls.")
    } else if low.contains("refused") {
        format!("{first} refuses the connection. Check that it is running and that the port is right.")
    } else {
        format!("{first} cannot be reached ({why}). Check the address, proxy and firewalls.")
    }
}

/// Returns the innermost cause, cleaned for messages.
fn cause(error: &dyn Error) -> String {
    let text = tidy(&http::root_cause(error), None);
    text.trim_end_matches('.').to_owned()
}
