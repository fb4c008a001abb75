//! Sends requests to one server, with limits on concurrency, rate, time and size of an answer.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use jiff::SignedDuration;
use reqwest::{Client, RequestBuilder, StatusCode, header::HeaderMap};
use tokio_retry::RetryIf;

use super::{Connection, SourceError, fault};
use crate::{
    backoff,
    gate::{Gate, NoTurn, class_of, sends_again},
    http::{self, PROXY_SIGN_IN},
    meter::CallMeter,
    model::ErrorClass,
};

/// Maximum size of an answer, in bytes; reading stops there.
const LARGEST_BODY: usize = 64 * 1024 * 1024;

/// Maximum number of attempts for a GET. It changes nothing, so it is sent again if the connection fails or is cut.
const SENT_AT_MOST: usize = 2;

/// An answer, read completely.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// An HTTP client for one server.
#[derive(Clone)]
pub(super) struct Http {
    client: Client,
    gate: Arc<Gate>,
    connect: Duration,
    /// Whether usersync presents a client certificate.
    certified: bool,
}

impl Http {
    pub fn new(connection: &Connection) -> Result<Self, SourceError> {
        let url = &connection.url;
        let wrong = |what: &str| fault::error(ErrorClass::Permanent, what);
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(wrong("Keycloak's URL must begin with https:// or http:// and name a host"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong(
                "Keycloak's URL contains a user name or password. Remove it; client id and secret have their own keys",
            ));
        }
        let way = http::Way {
            ca_file: connection.ca_file.as_deref(),
            certificate: connection.client_certificate.as_ref(),
            proxy: connection.proxy.as_ref(),
            proxy_user: connection.proxy_user.as_ref(),
            connect: connection.time_outs.connect,
        };
        let client = http::client(way).map_err(|text| wrong(text.trim_end_matches('.')))?;
        Ok(Self {
            client,
            gate: Arc::new(Gate::new(Arc::clone(&connection.clock), connection.parallel, connection.per_second)),
            connect: connection.time_outs.connect,
            certified: connection.client_certificate.is_some(),
        })
    }

    /// Counts calls with `meter` from now on.
    pub fn attach(&self, meter: &CallMeter) {
        self.gate.attach(meter);
    }

    /// Counts refused credentials.
    pub fn refused_sign_in(&self) {
        self.gate.meter().refused_sign_in();
    }

    /// Returns the client that requests are built with.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Sends a request that changes nothing. The text of an error begins with `whom`.
    pub async fn get(&self, whom: &str, request: RequestBuilder, within: Duration) -> Result<Answer, SourceError> {
        let attempt = || async {
            match request.try_clone() {
                Some(again) => self.in_turn(again, within, true).await,
                None => Err(cannot_be_copied()),
            }
        };
        let lost = |failure: &Failure| matches!(failure, Failure::Lost(_));
        RetryIf::start(backoff::within_call(SENT_AT_MOST), attempt, lost)
            .await
            .map_err(|failure| failure.reported(whom))
    }

    /// Sends a request that may change something. It is sent again only after a refusal that is temporary.
    pub async fn send(&self, whom: &str, request: RequestBuilder, within: Duration) -> Result<Answer, SourceError> {
        self.in_turn(request, within, false).await.map_err(|failure| failure.reported(whom))
    }

    /// Sends a request in its turn. If the server refuses it temporarily, it is sent again once the server accepts
    /// requests, before the deadline; after a 503, only a request that `reads`.
    async fn in_turn(&self, request: RequestBuilder, within: Duration, reads: bool) -> Result<Answer, Failure> {
        let latest = self.gate.latest(None);
        let mut refused = None;
        loop {
            let turn = match self.gate.enter(LANE, None, latest).await {
                Ok(turn) => turn,
                Err(NoTurn::Late) => return refused.ok_or_else(|| Failure::Lost("the client is closed".into())),
                Err(NoTurn::Limited(until)) => {
                    return refused.ok_or_else(|| Failure::Limited(until.duration_since(self.gate.now())));
                }
            };
            let began = Instant::now();
            let sent = match request.try_clone() {
                Some(again) => self.attempt(again, within).await,
                None => Err(cannot_be_copied()),
            };
            let error = match &sent {
                Ok(answer) => class_of(answer.status),
                Err(Failure::TooLarge) => Some(ErrorClass::Unconfirmed),
                Err(_) => Some(ErrorClass::Transient),
            };
            let bytes = sent.as_ref().map_or(0, |answer| answer.body.len());
            self.gate.meter().called(error, began.elapsed(), bytes);
            let answer = sent?;
            let again = self.gate.answered(LANE, turn, answer.status, &answer.headers);
            if !again || !sends_again() || !reads && answer.status != StatusCode::TOO_MANY_REQUESTS {
                return Ok(answer);
            }
            refused = Some(answer);
        }
    }

    async fn attempt(&self, request: RequestBuilder, within: Duration) -> Result<Answer, Failure> {
        let mut response = request.timeout(within).send().await.map_err(|error| self.failure(&error, within))?;
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let announced = response.content_length().and_then(|length| usize::try_from(length).ok());
        let mut body = BytesMut::with_capacity(announced.unwrap_or(0).min(http::MAX_PREALLOCATED));
        while let Some(chunk) = response.chunk().await.map_err(|error| self.failure(&error, within))? {
            if body.len() + chunk.len() > LARGEST_BODY {
                return Err(Failure::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, headers, body: body.freeze() })
    }

    fn failure(&self, error: &reqwest::Error, within: Duration) -> Failure {
        if error.is_timeout() {
            let limit = if error.is_connect() { self.connect } else { within };
            let what = if error.is_connect() { "no connection" } else { "no complete answer" };
            return Failure::TooSlow(format!("{what} within {} s", limit.as_secs_f32()));
        }
        let cause = http::root_cause(error);
        if let Some(what) = http::refused_certificate(&cause, self.certified) {
            return Failure::Refused(format!("it {what}"));
        }
        if cause.to_lowercase().contains("proxy auth") {
            return Failure::Refused(format!(
                "the proxy requires authentication (407). {}",
                PROXY_SIGN_IN.trim_end_matches('.')
            ));
        }
        if error.is_connect() {
            return Failure::Lost(format!("no connection ({cause})"));
        }
        Failure::Lost(format!("the connection was cut ({cause})"))
    }
}

/// All requests to Keycloak share one lane.
const LANE: &str = "keycloak";

fn cannot_be_copied() -> Failure {
    Failure::Lost("the request cannot be sent twice".into())
}

enum Failure {
    /// Rate limited: the server accepts no request for this long.
    Limited(SignedDuration),
    Lost(String),
    TooSlow(String),
    TooLarge,
    /// Refused by the server or the proxy before the request was read; the text says what to do.
    Refused(String),
}

impl Failure {
    fn reported(self, whom: &str) -> SourceError {
        fault::transient(match self {
            Self::Limited(wait) => {
                let text =
                    format!("{whom}: rate limited (429); no request is sent before {} s", wait.as_secs_f64().ceil());
                return SourceError { retry_after: Some(wait), ..fault::error(ErrorClass::Throttled, text) };
            }
            Self::Lost(what) => format!("{whom}: {what}. Check that Keycloak is running and reachable from this host"),
            Self::TooSlow(what) => {
                format!("{whom}: {what}. Keycloak is overloaded, or a firewall drops the connection")
            }
            Self::Refused(what) => format!("{whom}: {what}"),
            Self::TooLarge => {
                format!(
                    "{whom}: the answer is larger than {} MiB, and was not read. Lower the page size",
                    LARGEST_BODY >> 20
                )
            }
        })
    }
}
