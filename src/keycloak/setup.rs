//! The library behind `usersync keycloak setup`, `remove` and `test-event`: what must be made in a realm, computed from
//! what is there, so that it can be shown before it is done and doing it twice changes nothing.

mod admin;
mod plan;
mod present;
mod remove;
mod test_event;

use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::{Connection, SourceError, settings::rights_client, signature::WebhookSecret};
use crate::target::{Note, NoteState};
use admin::Admin;
use plan::Step;
use present::Present;

pub use test_event::TestEvent;

/// The id of usersync's event listener.
pub const LISTENER: &str = "usersync";

/// The realm attribute that tells the listener where usersync is.
pub const ADDRESS_ATTRIBUTE: &str = "usersync.address";

/// The realm attribute that names the key that the listener signs with, where the realm may use several. Only the name:
/// whoever administers the realm reads its attributes.
pub const KEY_ATTRIBUTE: &str = "usersync.key";

/// The realm attribute in which the event settings are kept as they were before.
const BEFORE_ATTRIBUTE: &str = "usersync.before";

/// The realm attribute that says how long admin events are kept; Keycloak's own.
pub(super) const ADMIN_EXPIRY: &str = "adminEventsExpiration";

/// Who makes the changes.
#[derive(Clone, Debug)]
pub enum SignIn {
    /// An administrator, through the client `admin-cli`.
    Password {
        /// The administrator's realm; `master` if in doubt.
        realm: String,
        /// The login.
        username: String,
        /// The password.
        password: SecretString,
    },
    /// A token that somebody else fetched.
    Token(SecretString),
}

/// What is wanted.
#[derive(Clone, Debug)]
pub struct SetupOptions {
    /// How Keycloak is reached.
    pub connection: Connection,
    /// The realm that will be read.
    pub realm: String,
    /// The realm that the client is made in, where that is another.
    pub client_realm: Option<String>,
    /// The client's id.
    pub client_id: String,
    /// Who makes the changes.
    pub sign_in: SignIn,
    /// Whether roles are wanted, which needs `view-realm`.
    pub view_realm: bool,
    /// Where the listener finds usersync; without it the realm's attributes stay as they are.
    pub address: Option<Url>,
    /// Whether events will be signed, so that a secret is made if there is none; so it is with an address, too.
    pub sign_events: bool,
    /// The name of the listener's key, where the realm may use several.
    pub key: Option<String>,
    /// The webhook secret that is there already; without it one is made.
    pub webhook_secret: Option<SecretString>,
    /// How long events are kept at least.
    pub expiry: Duration,
}

impl SetupOptions {
    /// With all else by default.
    pub fn new(
        connection: Connection,
        realm: impl Into<String>,
        client_id: impl Into<String>,
        sign_in: SignIn,
    ) -> Self {
        Self {
            connection,
            realm: realm.into(),
            client_realm: None,
            client_id: client_id.into(),
            sign_in,
            view_realm: false,
            address: None,
            sign_events: false,
            key: None,
            webhook_secret: None,
            expiry: Duration::from_hours(7 * 24),
        }
    }

    fn token_realm(&self) -> &str {
        self.client_realm.as_deref().unwrap_or(&self.realm)
    }

    fn rights_client(&self) -> String {
        rights_client(&self.realm, self.token_realm())
    }

    fn roles(&self) -> Vec<&'static str> {
        let mut roles = vec!["view-users", "view-events"];
        if self.view_realm {
            roles.push("view-realm");
        }
        roles
    }
}

/// What is to be done, in order. Shown by `--dry-run`, handed to [`Setup::apply`].
#[derive(Debug)]
pub struct Plan {
    steps: Vec<Step>,
    /// What is worth knowing and what remains to be done by hand.
    pub notes: Vec<Note>,
    webhook_secret: Option<SecretString>,
}

impl Plan {
    /// One line for each thing that would be done; none if all is as it should be.
    pub fn lines(&self) -> Vec<String> {
        self.steps.iter().map(ToString::to_string).collect()
    }

    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

/// What setting up left behind, for the caller to keep in files of mode 0600; never to be printed.
#[derive(Debug)]
pub struct Done {
    /// The client's secret.
    pub client_secret: SecretString,
    /// The webhook secret, if one was made.
    pub new_webhook_secret: Option<SecretString>,
}

/// An administrator's session that sets a realm up, or takes usersync out of it.
#[derive(Debug)]
pub struct Setup {
    options: SetupOptions,
    admin: Admin,
}

impl Setup {
    /// Finds Keycloak and signs in; nothing is changed.
    pub async fn connect(options: SetupOptions) -> Result<Self, SourceError> {
        let admin = Admin::sign_in(&options).await?;
        Ok(Self { options, admin })
    }

    /// The base URL that answered, with or without `/auth`.
    pub fn base_url(&self) -> String {
        self.admin.base_url()
    }

    /// What must be made or repaired.
    pub async fn plan(&self) -> Result<Plan, SourceError> {
        let present = Present::read(&self.admin, &self.options).await?;
        let (steps, mut notes) = plan::plan(&self.options, &present);
        let signs = self.options.address.is_some() || self.options.sign_events;
        let make_one = signs && self.options.webhook_secret.is_none();
        let webhook_secret = make_one.then(|| {
            notes.push(give_to_keycloak(&self.options));
            WebhookSecret::generate()
        });
        Ok(Plan { steps, notes, webhook_secret })
    }

    /// Does what was planned.
    pub async fn apply(&self, plan: Plan) -> Result<Done, SourceError> {
        for step in &plan.steps {
            step.apply(&self.admin, &self.options).await?;
        }
        let client_secret = present::client_secret(&self.admin, &self.options).await?;
        Ok(Done { client_secret, new_webhook_secret: plan.webhook_secret })
    }
}

/// The name of the key that a realm's events are signed with where none is given: the realm's own, as far as the listener
/// allows it (lower-case letters, digits, single hyphens).
fn key_name(realm: &str) -> String {
    let allowed = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let words = realm.to_lowercase();
    let words: Vec<&str> = words.split(|letter| !allowed(letter)).filter(|word| !word.is_empty()).collect();
    if words.is_empty() { "usersync".to_owned() } else { words.join("-") }
}

/// A secret in the realm's attributes would be everybody's who administers the realm, so the listener takes none from
/// there.
fn give_to_keycloak(options: &SetupOptions) -> Note {
    let address = options.address.as_ref().map_or("URL", Url::as_str);
    let key = options.key.clone().unwrap_or_else(|| key_name(&options.realm));
    let text = format!(
        "a webhook secret is made, and Keycloak has to be given it too: store it in a file there and start Keycloak with \
         --spi-events-listener-usersync-keys={key} --spi-events-listener-usersync-key-{key}-secret-file=FILE \
         --spi-events-listener-usersync-key-{key}-realms={} --spi-events-listener-usersync-key-{key}-addresses={address}",
        options.realm
    );
    Note { state: NoteState::Wait, about: "webhook secret".into(), text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_has_the_realms_name_as_in_the_documents() {
        assert_eq!(key_name("acme"), "acme");
        assert_eq!(key_name("Acme & Sons_2"), "acme-sons-2");
        assert_eq!(key_name("東京"), "usersync");
    }
}
