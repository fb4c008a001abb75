//! Requests to one server: how many at a time, how fast, how long, how much is read.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use reqwest::{Client, RequestBuilder, StatusCode, header::HeaderMap};
use tokio::sync::Semaphore;
use tokio_retry::RetryIf;

use super::{Connection, SourceError, fault};
use crate::{
    http::{self, PROXY_SIGN_IN},
    model::ErrorClass,
    retry,
};

/// An answer larger than this is not read on.
const LARGEST_BODY: usize = 64 * 1024 * 1024;

/// A GET whose connection could not be made or was cut is sent once more: it changes nothing.
const SENT_AT_MOST: usize = 2;

/// An answer, read whole.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A client of one server.
#[derive(Clone)]
pub(super) struct Http {
    client: Client,
    permits: Arc<Semaphore>,
    pace: Option<Arc<DefaultDirectRateLimiter>>,
    connect: Duration,
    /// Whether we present a certificate.
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
                "Keycloak's URL holds a user name or password. Take it out; client id and secret are given beside it",
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
            permits: Arc::new(Semaphore::new(connection.parallel.max(1))),
            pace: connection.per_second.map(|rate| Arc::new(RateLimiter::direct(Quota::per_second(rate)))),
            connect: connection.time_outs.connect,
            certified: connection.client_certificate.is_some(),
        })
    }

    /// The client that requests are built with.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Sends a request that changes nothing. `whom` begins the text of an error.
    pub async fn get(&self, whom: &str, request: RequestBuilder, within: Duration) -> Result<Answer, SourceError> {
        let attempt = || async {
            match request.try_clone() {
                Some(again) => self.attempt(again, within).await,
                None => Err(Failure::Lost("the request cannot be sent twice".into())),
            }
        };
        let lost = |failure: &Failure| matches!(failure, Failure::Lost(_));
        RetryIf::start(retry::within_call(SENT_AT_MOST), attempt, lost).await.map_err(|failure| failure.told(whom))
    }

    /// Sends a request once.
    pub async fn send(&self, whom: &str, request: RequestBuilder, within: Duration) -> Result<Answer, SourceError> {
        self.attempt(request, within).await.map_err(|failure| failure.told(whom))
    }

    async fn attempt(&self, request: RequestBuilder, within: Duration) -> Result<Answer, Failure> {
        let _permit = self.permits.acquire().await.map_err(|_| Failure::Lost("the client is closed".into()))?;
        if let Some(pace) = &self.pace {
            pace.until_ready().await;
        }
        let mut response = request.timeout(within).send().await.map_err(|error| self.failure(&error, within))?;
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let announced = response.content_length().and_then(|length| usize::try_from(length).ok());
        let mut body = BytesMut::with_capacity(announced.unwrap_or(0).min(http::BELIEVED));
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
            let what = if error.is_connect() { "no connection" } else { "no whole answer" };
            return Failure::TooSlow(format!("{what} within {} s", limit.as_secs_f32()));
        }
        let cause = http::root_cause(error);
        if let Some(what) = http::refused_certificate(&cause, self.certified) {
            return Failure::Refused(format!("it {what}"));
        }
        if cause.to_lowercase().contains("proxy auth") {
            return Failure::Refused(format!(
                "the proxy demands a sign-in (407). {}",
                PROXY_SIGN_IN.trim_end_matches('.')
            ));
        }
        if error.is_connect() {
            return Failure::Lost(format!("no connection ({cause})"));
        }
        Failure::Lost(format!("the connection was cut ({cause})"))
    }
}

enum Failure {
    Lost(String),
    TooSlow(String),
    TooLarge,
    /// By the server or the proxy, before the request was read; the text says what to do.
    Refused(String),
}

impl Failure {
    fn told(self, whom: &str) -> SourceError {
        fault::transient(match self {
            Self::Lost(what) => format!("{whom}: {what}. Check that Keycloak runs and can be reached from here"),
            Self::TooSlow(what) => {
                format!("{whom}: {what}. Keycloak is overloaded, or a firewall drops the connection")
            }
            Self::Refused(what) => format!("{whom}: {what}"),
            Self::TooLarge => {
                format!(
                    "{whom}: an answer of more than {} MiB was not read on. Lower the page size",
                    LARGEST_BODY >> 20
                )
            }
        })
    }
}
