//! Handles `POST /hooks/{connector}`: verifies, decodes and stores, and only then answers 202.
//!
//! A request takes no memory of the [`Budget`] before its signature headers are well-formed and fresh. Until its body
//! is verified, it takes no more than a part of it.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    body::Body,
    extract::{Extension, Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use http_body_util::BodyExt as _;
use serde_json::json;
use tokio::sync::Semaphore;

use super::{
    budget::{Budget, Charge, Full},
    connections::Connection,
    hook_refusals::{EVERY, Tallies},
    secrets::HookSecrets,
};
use crate::{
    engine::Clock,
    keycloak::{
        decode::{DecodeContext, DecodeError, decode},
        signature::{SignatureError, SignatureHeaders},
    },
    model::{ConnectorName, EventOutcome, RefusalReason, TargetName, Uses},
    store::Inbox,
    telemetry::{Health, Metrics, metrics::EventFate},
};

/// Maximum number of verified requests of one connector that wait; above it, the sender receives 429.
const WAITING: usize = 4_096;
/// Memory for all bodies, in bytes.
const BUDGET: usize = 64 << 20;
/// Maximum time for reading a body.
const BODY_WITHIN: Duration = Duration::from_secs(5);
/// Smallest memory for a body, in bytes.
const FIRST: usize = 4 * 1024;
/// `Retry-After` in seconds, if the sender is too fast or the store cannot be written.
const RETRY_AFTER: &str = "5";

/// The data of a connector that the hook needs.
pub struct HookConnector {
    /// The name: the last part of the path.
    pub name: ConnectorName,
    /// The realm of its events.
    pub realm: String,
    /// The targets of its tasks.
    pub targets: Vec<TargetName>,
    /// The secrets that its events are signed with.
    pub secrets: Arc<HookSecrets>,
    /// What its policy depends on.
    pub uses: Uses,
    /// Whether the connector was removed: senders receive 410 Gone.
    pub removed: bool,
}

/// The state of the hook. Requests that arrive before [`Hooks::open`] receive 503, so that the sender retries: a closed
/// port would lose its events.
pub struct Hooks {
    body_limit: usize,
    body_within: Duration,
    waiting: usize,
    budget: Budget,
    tallies: Tallies,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    health: Health,
    open: OnceLock<Open>,
}

struct Open {
    inbox: Arc<dyn Inbox>,
    connectors: HashMap<ConnectorName, Place>,
    /// Secrets for unknown connectors, so that the response time does not reveal whether a connector exists.
    nobody: Arc<HookSecrets>,
}

struct Place {
    connector: HookConnector,
    waiting: Semaphore,
}

/// Why a request is refused. The message is for the sender, the reason for the operator.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the signature is missing or not valid")]
    Unauthorized(RefusalReason),
    #[error("this connector was removed; stop sending")]
    Gone,
    #[error("the body is larger than {0} bytes; send fewer events at once")]
    TooLarge(usize),
    #[error("the body did not arrive in time")]
    TooSlow,
    #[error("the body is incomplete")]
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
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::Gone => StatusCode::GONE,
            Self::TooLarge(_) | Self::NotAnEvent(DecodeError::TooMany(_)) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Broken | Self::NotAnEvent(DecodeError::NotJson { .. }) => StatusCode::BAD_REQUEST,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NotAnEvent(DecodeError::NoEvent(_)) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooFast => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Returns the reason to count; `None`: the sender retries, or is asked to stop.
    fn reason(&self) -> Option<RefusalReason> {
        match self {
            Self::Unauthorized(reason) => Some(*reason),
            Self::TooLarge(_) => Some(RefusalReason::TooLarge),
            Self::TooSlow | Self::Broken => Some(RefusalReason::TooSlow),
            Self::MediaType => Some(RefusalReason::MediaType),
            Self::NotAnEvent(DecodeError::NotJson { .. }) => Some(RefusalReason::NotJson),
            Self::NotAnEvent(DecodeError::NoEvent(_)) => Some(RefusalReason::NotAnEvent),
            Self::NotAnEvent(DecodeError::TooMany(_)) => Some(RefusalReason::TooMany),
            Self::Gone | Self::TooFast | Self::Unavailable => None,
        }
    }
}

impl From<SignatureError> for Refused {
    fn from(error: SignatureError) -> Self {
        Self::Unauthorized(match error {
            SignatureError::Missing => RefusalReason::Unsigned,
            SignatureError::Unreadable => RefusalReason::Malformed,
            SignatureError::TooOld => RefusalReason::TooOld,
            SignatureError::TooNew => RefusalReason::TooNew,
            SignatureError::Mismatch => RefusalReason::WrongSecret,
        })
    }
}

impl From<Full> for Refused {
    fn from(Full: Full) -> Self {
        Self::TooFast
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
    /// Creates a hook that is not open yet.
    pub fn new(body_limit: usize, clock: Arc<dyn Clock>, metrics: Arc<Metrics>, health: Health) -> Self {
        let (budget, tallies) = (Budget::new(BUDGET), Tallies::default());
        let (waiting, body_within) = (WAITING, BODY_WITHIN);
        Self { body_limit, body_within, waiting, budget, tallies, clock, metrics, health, open: OnceLock::new() }
    }

    /// Sets the memory for all bodies, in bytes; a quarter of it is for bodies that are not verified yet.
    #[must_use]
    pub fn with_budget(self, bytes: usize) -> Self {
        Self { budget: Budget::new(bytes), ..self }
    }

    /// Sets the maximum time for reading a body.
    #[must_use]
    pub fn with_body_within(self, body_within: Duration) -> Self {
        Self { body_within, ..self }
    }

    /// Sets the maximum number of verified requests of one connector that wait.
    #[must_use]
    pub fn with_waiting(self, waiting: usize) -> Self {
        Self { waiting, ..self }
    }

    /// Opens the hook; only the first call has an effect.
    pub fn open(&self, inbox: Arc<dyn Inbox>, connectors: Vec<HookConnector>) {
        let place = |connector: HookConnector| {
            (connector.name.clone(), Place { connector, waiting: Semaphore::new(self.waiting) })
        };
        let open = Open {
            inbox,
            connectors: connectors.into_iter().map(place).collect(),
            nobody: Arc::new(HookSecrets::decoys()),
        };
        // A second call has no effect.
        let _ = self.open.set(open);
    }

    async fn take(
        &self,
        name: &ConnectorName,
        connection: &Connection,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Response, Refused> {
        let open = self.open.get().filter(|_| !self.health.readiness().draining).ok_or(Refused::Unavailable)?;
        let place = open.connectors.get(name);
        let now = self.clock.now();
        let headers_of_signature =
            SignatureHeaders::read(|name| headers.get(name).and_then(|value| value.to_str().ok()));
        let signature = headers_of_signature.signature(now)?;
        let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| length > self.body_limit as u64) {
            return Err(Refused::TooLarge(self.body_limit));
        }
        let mut charge = self.budget.begin()?;
        let evicted = charge.evicted();
        let body = tokio::select! {
            read = tokio::time::timeout(self.body_within, self.read(body, &mut charge)) => {
                read.map_err(|_| Refused::TooSlow)??
            }
            () = evicted => return Err(Refused::TooFast),
        };
        let secrets = place.map_or(&open.nobody, |place| &place.connector.secrets);
        let verified = secrets.verify(&signature, &body).await.map_err(Refused::Unauthorized)?;
        let Some(place) = place else { return Err(Refused::Unauthorized(RefusalReason::UnknownConnector)) };
        charge.verified();
        connection.verified();
        let _waiting = place.waiting.try_acquire().map_err(|_| Refused::TooFast)?;
        if place.connector.removed {
            return Err(Refused::Gone);
        }
        if !is_json(headers) {
            return Err(Refused::MediaType);
        }
        let HookConnector { realm, uses, .. } = &place.connector;
        let context = DecodeContext { uses: *uses, ..DecodeContext::new(realm, now) };
        let events = decode(verified, &context).map_err(Refused::NotAnEvent)?;
        let ignored = events.iter().filter(|event| event.outcome != EventOutcome::Accepted).count() as u64;
        let appended = open.inbox.put(name, &place.connector.targets, events, now).await.map_err(|error| {
            tracing::error!(connector = %name, "events could not be stored: {error}");
            Refused::Unavailable
        })?;
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
        let reported = json!({ "stored": appended.stored, "duplicates": appended.duplicates });
        Ok((StatusCode::ACCEPTED, axum::Json(reported)).into_response())
    }

    /// Reads the whole body; charges for it as it arrives, and fails above the limit.
    async fn read(&self, mut body: Body, charge: &mut Charge<'_>) -> Result<Vec<u8>, Refused> {
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| Refused::Broken)?.into_data() else { continue };
            let length = bytes.len() + data.len();
            if length > self.body_limit {
                return Err(Refused::TooLarge(self.body_limit));
            }
            if length > bytes.capacity() {
                let grown = length.max(FIRST).max(bytes.capacity() * 2).min(self.body_limit);
                charge.grow(grown - bytes.capacity())?;
                bytes.reserve_exact(grown - bytes.len());
            }
            bytes.extend_from_slice(&data);
        }
        Ok(bytes)
    }

    /// Logs and stores each count of refused requests once a minute, until the future is dropped.
    pub(super) async fn keep_refusals(&self) {
        loop {
            let every = Duration::try_from(EVERY).unwrap_or(Duration::from_mins(1));
            // A count that waits for its minute is due with the next request, or after a minute without one.
            let _ = tokio::time::timeout(every, self.tallies.due()).await;
            self.store_refusals(false).await;
        }
    }

    /// Logs and stores the counts that are due, or all.
    pub(super) async fn store_refusals(&self, all: bool) {
        let refusals = self.tallies.take(self.clock.now(), all);
        let Some(open) = self.open.get().filter(|_| !refusals.is_empty()) else { return };
        for one in &refusals {
            let connector = one.connector.as_ref().map_or("none", ConnectorName::as_str);
            tracing::warn!(connector, count = one.count, "requests to the hook are refused: {}", one.reason);
        }
        if let Err(error) = open.inbox.refused(&refusals).await {
            tracing::warn!("the counts of refused requests cannot be stored: {error}");
            self.tallies.put_back(refusals);
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Handles a request.
pub(super) async fn post(
    State(hooks): State<Arc<Hooks>>,
    Path(connector): Path<String>,
    Extension(connection): Extension<Connection>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let name = ConnectorName::from(connector);
    let response = match hooks.take(&name, &connection, &headers, body).await {
        Ok(response) => response,
        Err(refused) => {
            let now = hooks.clock.now();
            let known = hooks.open.get().and_then(|open| open.connectors.get_key_value(&name)).map(|(name, _)| name);
            if let Some(reason) = refused.reason().filter(|_| hooks.open.get().is_some()) {
                let reason = if known.is_some() { reason } else { RefusalReason::UnknownConnector };
                hooks.tallies.add(known, reason, now);
            }
            if let Some(known) = known {
                hooks.metrics.events(known, EventFate::Refused, 1, now);
            }
            refused.into_response()
        }
    };
    // Senders choose the name freely, so only a configured name becomes a label.
    let known = hooks.open.get().and_then(|open| open.connectors.get(&name)).map(|place| &place.connector.name);
    hooks.metrics.hook_answered(known, response.status().as_u16());
    response
}
