//! The listener inside Keycloak that posts signed events to a URL.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::event::Happening;
use super::state::new_id;

/// Maximum number of events in a batch.
const BATCH: usize = 100;

/// Form of the posted events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// usersync's own listener: batches, signed as Standard Webhooks specifies.
    Listener,
    /// p2-inc's `ext-event-webhook`: one event per call, `X-Keycloak-Signature` in hex.
    P2,
}

/// Timing of the posts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// After the change is committed.
    AfterCommit,
    /// Before the commit, which follows this long after the call is answered.
    PreCommit(Duration),
}

/// Settings of the webhook of a realm.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// The URL.
    pub url: String,
    /// One secret, or two during a rotation; `whsec_…` is base64, anything else is used literally.
    pub secrets: Vec<String>,
    /// The form.
    pub form: Form,
    /// The timing.
    pub timing: Timing,
    /// Delays before each retry after an answer that is not 2xx.
    pub retries: Vec<Duration>,
}

impl Webhook {
    /// Returns usersync's own listener: posts after the commit, with a few quick retries.
    pub fn listener(url: impl Into<String>, secret: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            secrets: vec![secret.into()],
            form: Form::Listener,
            timing: Timing::AfterCommit,
            retries: [50, 200, 800, 2000].map(Duration::from_millis).to_vec(),
        }
    }

    /// Returns p2-inc's listener: it gives up at once if it cannot connect, and retries answers that are not 2xx.
    pub fn p2(url: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { form: Form::P2, ..Self::listener(url, secret) }
    }

    /// Sets the timing.
    #[must_use]
    pub fn timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self
    }

    /// Sets the delays between attempts; none: one attempt.
    #[must_use]
    pub fn retries(mut self, retries: Vec<Duration>) -> Self {
        self.retries = retries;
        self
    }

    /// Adds a second secret; its signature is sent too (own listener only).
    #[must_use]
    pub fn and_secret(mut self, secret: impl Into<String>) -> Self {
        self.secrets.push(secret.into());
        self
    }
}

/// One call of the webhook.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The `webhook-id`, or p2's `uid`; the same for all attempts.
    pub id: String,
    /// The body.
    pub body: Value,
    /// The status of the answer; `None`: no answer.
    pub status: Option<u16>,
    /// When the call ended.
    pub at: SystemTime,
}

/// State of the sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    On,
    Off,
    Held,
}

#[derive(Debug, Default)]
struct Setup {
    webhook: Option<Webhook>,
    mode: Mode,
}

/// The sender of one realm.
#[derive(Debug)]
pub(crate) struct Sender {
    queue: UnboundedSender<Vec<Value>>,
    shared: Arc<Shared>,
    held: Mutex<Vec<Value>>,
}

#[derive(Debug)]
struct Shared {
    // Created at the first delivery: setting up TLS takes longer than starting a server.
    client: OnceLock<reqwest::Client>,
    open: AtomicUsize,
    deliveries: Mutex<Vec<Delivery>>,
    setup: Mutex<Setup>,
}

impl Shared {
    fn client(&self) -> &reqwest::Client {
        self.client.get_or_init(|| {
            reqwest::Client::builder()
                .no_proxy()
                .timeout(Duration::from_secs(10))
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .unwrap_or_default()
        })
    }

    fn setup(&self) -> MutexGuard<'_, Setup> {
        self.setup.lock()
    }
}

impl Sender {
    /// Starts a sender without a URL.
    pub(crate) fn start() -> Self {
        let (queue, events) = unbounded_channel();
        let shared = Arc::new(Shared {
            client: OnceLock::new(),
            open: AtomicUsize::new(0),
            deliveries: Mutex::default(),
            setup: Mutex::default(),
        });
        tokio::spawn(work(Arc::clone(&shared), events));
        Self { queue, shared, held: Mutex::default() }
    }

    pub(crate) fn set(&self, webhook: Option<Webhook>) {
        self.shared.setup().webhook = webhook;
    }

    /// Turns the sender off: events are lost, as they are while Keycloak restarts.
    pub(crate) fn switch(&self, on: bool) {
        self.shared.setup().mode = if on { Mode::On } else { Mode::Off };
    }

    /// Holds events back until they are sent manually.
    pub(crate) fn hold(&self) {
        self.shared.setup().mode = Mode::Held;
    }

    pub(crate) fn take_held(&self) -> Vec<Value> {
        std::mem::take(&mut *self.held.lock())
    }

    /// Returns the delay between post and commit, if the webhook posts before the commit.
    pub(crate) fn pre_commit(&self) -> Option<Duration> {
        let setup = self.shared.setup();
        match (setup.mode, &setup.webhook) {
            (Mode::On, Some(Webhook { timing: Timing::PreCommit(wait), .. })) => Some(*wait),
            _ => None,
        }
    }

    /// Returns the events of a change that are posted, in the configured form.
    pub(crate) fn prepare(&self, realm_id: &str, realm_name: &str, happenings: &[Happening]) -> Vec<Value> {
        let setup = self.shared.setup();
        let Some(webhook) = setup.webhook.as_ref().filter(|_| setup.mode != Mode::Off) else {
            return Vec::new();
        };
        let shown = happenings.iter().filter_map(|one| match webhook.form {
            Form::Listener => own_form(realm_id, realm_name, one),
            Form::P2 => p2_form(realm_id, realm_name, one),
        });
        let shown: Vec<Value> = shown.collect();
        if setup.mode == Mode::Held {
            self.held.lock().extend(shown);
            return Vec::new();
        }
        shown
    }

    /// Posts events in the background; one batch per call if nothing is queued.
    pub(crate) fn queue(&self, events: Vec<Value>) {
        if events.is_empty() {
            return;
        }
        self.shared.open.fetch_add(1, Ordering::SeqCst);
        if self.queue.send(events).is_err() {
            self.shared.open.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Posts events; returns when they are answered or the attempts used up.
    pub(crate) async fn post(&self, events: Vec<Value>) {
        let webhook = self.shared.setup().webhook.clone();
        if let Some(webhook) = webhook.filter(|_| !events.is_empty()) {
            deliver(&self.shared, &webhook, events).await;
        }
    }

    /// Returns when everything in the queue is posted or given up.
    pub(crate) async fn idle(&self) {
        while self.shared.open.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        self.shared.deliveries.lock().clone()
    }
}

async fn work(shared: Arc<Shared>, mut events: UnboundedReceiver<Vec<Value>>) {
    while let Some(mut batch) = events.recv().await {
        let mut taken = 1;
        while batch.len() < BATCH
            && let Ok(more) = events.try_recv()
        {
            batch.extend(more);
            taken += 1;
        }
        let webhook = shared.setup().webhook.clone();
        if let Some(webhook) = webhook {
            deliver(&shared, &webhook, batch).await;
        }
        shared.open.fetch_sub(taken, Ordering::SeqCst);
    }
}

async fn deliver(shared: &Shared, webhook: &Webhook, events: Vec<Value>) {
    match webhook.form {
        Form::Listener => {
            let id = format!("msg_{}", new_id());
            let body = json!({ "events": events });
            let bytes = body.to_string();
            attempt(shared, webhook, &id, &body, |at| {
                let signed = standard_signatures(&webhook.secrets, &id, at, &bytes);
                let request = shared.client().post(&webhook.url).body(bytes.clone());
                request
                    .header("webhook-id", &id)
                    .header("webhook-timestamp", at.to_string())
                    .header("webhook-signature", signed)
            })
            .await;
        }
        Form::P2 => {
            for event in events {
                let id = event["uid"].as_str().unwrap_or_default().to_owned();
                let bytes = event.to_string();
                let secret = webhook.secrets.first().map(String::as_bytes).unwrap_or_default();
                let signature = hex::encode(hmac(secret, bytes.as_bytes()));
                attempt(shared, webhook, &id, &event, |_| {
                    shared.client().post(&webhook.url).body(bytes.clone()).header("X-Keycloak-Signature", &signature)
                })
                .await;
            }
        }
    }
}

async fn attempt(
    shared: &Shared,
    webhook: &Webhook,
    id: &str,
    body: &Value,
    request: impl Fn(i64) -> reqwest::RequestBuilder,
) {
    let mut waits = webhook.retries.iter();
    loop {
        let sent = request(jiff::Timestamp::now().as_second()).header("content-type", "application/json").send().await;
        let status = sent.ok().map(|answer| answer.status().as_u16());
        let delivery = Delivery { id: id.to_owned(), body: body.clone(), status, at: SystemTime::now() };
        shared.deliveries.lock().push(delivery);
        let lost = status.is_none() && webhook.form == Form::P2;
        if lost || status.is_some_and(|status| (200..300).contains(&status)) {
            return;
        }
        let Some(wait) = waits.next() else { return };
        tokio::time::sleep(*wait).await;
    }
}

fn hmac(secret: &[u8], text: &[u8]) -> Vec<u8> {
    // HMAC accepts keys of any length, so this never fails.
    Hmac::<Sha256>::new_from_slice(secret).map_or_else(
        |_| Vec::new(),
        |mut mac| {
            mac.update(text);
            mac.finalize().into_bytes().to_vec()
        },
    )
}

/// Returns the signatures of Standard Webhooks, one per secret.
pub(crate) fn standard_signatures(secrets: &[String], id: &str, at: i64, body: &str) -> String {
    let signed = format!("{id}.{at}.{body}");
    let one = |secret: &String| {
        let key = secret.strip_prefix("whsec_").and_then(|rest| STANDARD.decode(rest).ok());
        let key = key.unwrap_or_else(|| secret.as_bytes().to_vec());
        format!("v1,{}", STANDARD.encode(hmac(&key, signed.as_bytes())))
    };
    secrets.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// Types of user events that the listener posts; the same as in its `UserEvents.java`.
pub const LISTENER_USER_EVENTS: [&str; 12] = [
    "REGISTER",
    "UPDATE_PROFILE",
    "UPDATE_EMAIL",
    "VERIFY_EMAIL",
    "VERIFY_PROFILE",
    "DELETE_ACCOUNT",
    "USER_DISABLED_BY_PERMANENT_LOCKOUT",
    "FEDERATED_IDENTITY_LINK",
    "REMOVE_FEDERATED_IDENTITY",
    "IDENTITY_PROVIDER_FIRST_LOGIN",
    "IDENTITY_PROVIDER_POST_LOGIN",
    "INVITE_ORG",
];

/// usersync's own form: only the ids and names that say what to read.
fn own_form(realm_id: &str, realm_name: &str, happening: &Happening) -> Option<Value> {
    let mut shown = match happening {
        Happening::Admin(event, subject) => json!({
            "kind": "admin", "id": event.id, "time": event.time, "operationType": event.operation_type,
            "resourceType": event.resource_type, "resourcePath": event.resource_path,
            "resourceId": subject.resource_id, "userId": subject.user_id, "username": subject.username,
        }),
        Happening::User(event) => {
            let brokered = event.kind == "LOGIN" && event.details.contains_key("identity_provider");
            if !LISTENER_USER_EVENTS.contains(&event.kind.as_str()) && !brokered {
                return None;
            }
            // In other events, `username` is what was typed to sign in.
            let login = if event.kind == "REGISTER" { "username" } else { "updated_username" };
            json!({
                "kind": "user", "id": event.id, "time": event.time, "type": event.kind,
                "userId": event.user_id, "username": event.details.get(login),
            })
        }
        Happening::Model(event) => json!({
            "kind": "model", "id": event.id, "time": event.time, "type": event.kind,
            "resourceType": event.resource_type, "resourcePath": event.resource_path,
            "resourceId": event.resource_id, "userId": event.user_id, "username": event.username,
        }),
    };
    let fields = shown.as_object_mut()?;
    fields.insert("realmId".into(), json!(realm_id));
    fields.insert("realmName".into(), json!(realm_name));
    fields.retain(|_, value| !value.is_null());
    Some(shown)
}

/// p2-inc's unified webhook form; it has no model events, and posts all user events.
fn p2_form(realm_id: &str, realm_name: &str, happening: &Happening) -> Option<Value> {
    let mut shown = match happening {
        Happening::Admin(event, subject) => {
            let mut details: serde_json::Map<String, Value> = serde_json::Map::new();
            for (key, value) in event.details.iter().flatten() {
                details.insert((*key).to_owned(), json!(value));
            }
            // Only for the bare path of a user; after a deletion the name is no longer available.
            let path = event.resource_path.as_deref().unwrap_or_default();
            if let Some(user) = path.strip_prefix("users/").filter(|rest| !rest.contains('/')) {
                details.insert("userId".into(), json!(user));
                if event.operation_type != "DELETE" {
                    details.insert("username".into(), json!(subject.username));
                }
            }
            json!({
                "uid": *new_id(), "id": event.id, "time": event.time,
                "type": format!("admin.{}-{}", event.resource_type, event.operation_type),
                "resourceType": event.resource_type, "operationType": event.operation_type,
                "resourcePath": event.resource_path, "representation": event.representation, "details": details,
                "authDetails": {
                    "realmId": "master", "clientId": event.auth_details.client_id,
                    "userId": event.auth_details.user_id, "ipAddress": event.auth_details.ip_address,
                },
            })
        }
        Happening::User(event) => {
            json!({
                "uid": *new_id(), "id": event.id, "time": event.time, "type": format!("access.{}", event.kind),
                "details": event.details,
                "authDetails": {
                    "realmId": realm_name, "clientId": event.client_id, "userId": event.user_id,
                    "ipAddress": event.ip_address, "username": event.details.get("username"),
                },
            })
        }
        Happening::Model(_) => return None,
    };
    let fields = shown.as_object_mut()?;
    fields.insert("realmId".into(), json!(realm_id));
    fields.insert("realmName".into(), json!(realm_name));
    fields.retain(|_, value| !value.is_null());
    Some(shown)
}

#[cfg(test)]
mod tests {
    use super::standard_signatures;

    #[test]
    fn signs_as_the_official_vector_says() {
        let secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".to_owned();
        let body = r#"{"email":"test@example.com","username":"test_user"}"#;
        let signed = standard_signatures(&[secret], "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1_649_367_553, body);
        assert_eq!(signed, "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
    }
}
