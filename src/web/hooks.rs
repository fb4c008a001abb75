//! `POST /hooks/{connector}`: verifies, decodes, stores, and only then answers 202.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use axum::{
    body::{Body, Bytes},
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use tokio::sync::Semaphore;

use super::secrets::HookSecrets;
use crate::{
    engine::Clock,
    keycloak::{
        decode::{DecodeContext, DecodeError, decode},
        signature::SignatureHeaders,
    },
    model::{ConnectorName, EventOutcome, TargetName},
    store::{Inbox, StoreError},
    telemetry::{Health, Metrics, metrics::EventFate},
};

/// Requests of one connector that wait at the same time; a sender with more than these is far too fast.
const WAITING: usize = 4_096;
/// What senders are asked to wait when they are too fast, or the store can not take it; seconds.
const RETRY_AFTER: &str = "5";

/// A connector as the hook needs it.
pub struct HookConnector {
    /// Its name: the last part of the path.
    pub name: ConnectorName,
    /// The realm whose events it takes.
    pub realm: String,
    /// The targets that its tasks are for.
    pub targets: Vec<TargetName>,
    /// What its events are signed with.
    pub secrets: Arc<HookSecrets>,
    /// Whether it was removed: its senders are told to stop.
    pub removed: bool,
}

/// All that the hook works with. Requests that come before [`Hooks::open`] was called are answered 503, so that a sender
/// tries again: a closed port would lose its events.
pub struct Hooks {
    body_limit: usize,
    waiting: usize,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    health: Health,
    open: OnceLock<Open>,
}

struct Open {
    inbox: Arc<dyn Inbox>,
    connectors: HashMap<ConnectorName, Place>,
    /// Verified against for connectors that are not there, so that their absence is not told by the time it takes.
    nobody: Arc<HookSecrets>,
    /// How many requests for such connectors may be read at once.
    strangers: Semaphore,
}

struct Place {
    connector: HookConnector,
    waiting: Semaphore,
}

/// Why a request is not taken. The words are the sender's; more goes to the log.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the signature is missing or not valid")]
    Unauthorized,
    #[error("this connector was removed; stop sending")]
    Gone,
    #[error("the body is larger than {0} bytes; send fewer events at once")]
    TooLarge(usize),
    #[error("the body could not be read to its end")]
    Broken,
    #[error("send application/json")]
    MediaType,
    #[error("{0}")]
    NotAnEvent(DecodeError),
    #[error("too many requests are waiting; slow down")]
    TooFast,
    #[error("events cannot be stored now; send them again later")]
    Unavailable,
}

impl Refused {
    fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Gone => StatusCode::GONE,
            Self::TooLarge(_) | Self::NotAnEvent(DecodeError::TooMany(_)) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Broken | Self::NotAnEvent(DecodeError::NotJson { .. }) => StatusCode::BAD_REQUEST,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NotAnEvent(DecodeError::NoEvent(_)) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooFast => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut response = (status, axum::Json(json!({ "error": self.to_string() }))).into_response();
        if matches!(self, Self::TooFast | Self::Unavailable) {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static(RETRY_AFTER));
        }
        response
    }
}

impl Hooks {
    /// A hook that is not open yet.
    pub fn new(body_limit: usize, clock: Arc<dyn Clock>, metrics: Arc<Metrics>, health: Health) -> Self {
        Self { body_limit, waiting: WAITING, clock, metrics, health, open: OnceLock::new() }
    }

    /// The same with another number of requests of one connector that may wait at the same time.
    #[must_use]
    pub fn with_waiting(self, waiting: usize) -> Self {
        Self { waiting, ..self }
    }

    /// Opens it; once.
    pub fn open(&self, inbox: Arc<dyn Inbox>, connectors: Vec<HookConnector>) {
        let place = |connector: HookConnector| {
            (connector.name.clone(), Place { connector, waiting: Semaphore::new(self.waiting) })
        };
        let open = Open {
            inbox,
            connectors: connectors.into_iter().map(place).collect(),
            nobody: Arc::new(HookSecrets::new(Vec::new(), None)),
            strangers: Semaphore::new(self.waiting),
        };
        // A second call would find the first one's: nothing to do.
        let _ = self.open.set(open);
    }

    async fn take(&self, name: &ConnectorName, headers: &HeaderMap, body: Body) -> Result<Response, Refused> {
        let open = self.open.get().filter(|_| !self.health.readiness().draining).ok_or(Refused::Unavailable)?;
        let place = open.connectors.get(name);
        let waiting = place.map_or(&open.strangers, |place| &place.waiting);
        let _waiting = waiting.try_acquire().map_err(|_| Refused::TooFast)?;
        let body = self.read(headers, body).await?;
        let secrets = place.map_or(&open.nobody, |place| &place.connector.secrets);
        let now = self.clock.now();
        let signature = SignatureHeaders::read(|name| headers.get(name).and_then(|value| value.to_str().ok()));
        let verified = secrets.verify(&signature, &body, now).await;
        let (Some(place), Ok(verified)) = (place, verified.as_ref()) else {
            let why = verified.err().map_or_else(|| "there is no such connector".to_owned(), |error| error.to_string());
            tracing::warn!(connector = %name, "a request to the hook was refused: {why}");
            return Err(Refused::Unauthorized);
        };
        if place.connector.removed {
            return Err(Refused::Gone);
        }
        if !is_json(headers) {
            return Err(Refused::MediaType);
        }
        let events =
            decode(*verified, &DecodeContext::new(&place.connector.realm, now)).map_err(Refused::NotAnEvent)?;
        let ignored = events.iter().filter(|event| event.outcome != EventOutcome::Accepted).count() as u64;
        let appended = open.inbox.put(name, &place.connector.targets, events, now).await.map_err(|error| {
            tracing::error!(connector = %name, "events could not be stored: {error}");
            if let StoreError::Unavailable(why) | StoreError::Failed(why) = &error {
                self.health.down("store", why.clone());
            }
            Refused::Unavailable
        })?;
        self.health.ok("store");
        let stored = (appended.stored as u64).saturating_sub(ignored);
        for (fate, count) in [
            (EventFate::Stored, stored),
            (EventFate::Ignored, ignored.min(appended.stored as u64)),
            (EventFate::Duplicate, appended.duplicates as u64),
        ] {
            if count > 0 {
                self.metrics.events(name, fate, count, now);
            }
        }
        let told = json!({ "stored": appended.stored, "duplicates": appended.duplicates });
        Ok((StatusCode::ACCEPTED, axum::Json(told)).into_response())
    }

    /// The whole body, if it is not too large; what is announced as too large is not read at all.
    async fn read(&self, headers: &HeaderMap, body: Body) -> Result<Bytes, Refused> {
        let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| length > self.body_limit as u64) {
            return Err(Refused::TooLarge(self.body_limit));
        }
        axum::body::to_bytes(body, self.body_limit).await.map_err(|error| {
            let mut source = std::error::Error::source(&error);
            while let Some(inner) = source {
                if inner.is::<http_body_util::LengthLimitError>() {
                    return Refused::TooLarge(self.body_limit);
                }
                source = inner.source();
            }
            Refused::Broken
        })
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// The handler.
pub(super) async fn post(
    State(hooks): State<Arc<Hooks>>,
    Path(connector): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let name = ConnectorName::from(connector);
    let response = match hooks.take(&name, &headers, body).await {
        Ok(response) => response,
        Err(refused) => {
            let known = hooks.open.get().is_some_and(|open| open.connectors.contains_key(&name));
            if known {
                hooks.metrics.events(&name, EventFate::Refused, 1, hooks.clock.now());
            }
            refused.into_response()
        }
    };
    // A name that nobody configured is no label: anybody can send any.
    let known = hooks.open.get().and_then(|open| open.connectors.get(&name)).map(|place| &place.connector.name);
    hooks.metrics.hook_answered(known, response.status().as_u16());
    response
}
