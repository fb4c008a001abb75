//! Implements `usersync keycloak setup`, `remove` and `test-event`: computes what is missing in a realm from what
//! exists. So a plan can be shown before it is applied, and a second run changes nothing.

mod admin;
mod plan;
mod present;
mod remove;
mod test_event;

use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::{Connection, SourceError, settings::rights_client, signature::WebhookSecret};
use crate::targets::{Note, NoteState};
use admin::Admin;
use plan::Step;
use present::Present;

pub use test_event::TestEvent;

/// The realm attribute that contains usersync's address for the listener.
pub const ADDRESS_ATTRIBUTE: &str = "usersync.address";

/// The role that reading organizations needs; it exists since Keycloak 26.7.
const VIEW_ORGANIZATIONS: &str = "view-organizations";

/// The realm attribute that stores the previous event settings.
const BEFORE_ATTRIBUTE: &str = "usersync.before";

/// The credentials for the changes.
#[derive(Clone, Debug)]
pub enum SignIn {
    /// An administrator, through the client `admin-cli`.
    Password {
        /// The administrator's realm, usually `master`.
        realm: String,
        /// The login.
        username: String,
        /// The password.
        password: SecretString,
    },
    /// A token that was obtained elsewhere.
    Token(SecretString),
}

/// The wanted setup.
#[derive(Clone, Debug)]
pub struct SetupOptions {
    /// The connection to Keycloak.
    pub connection: Connection,
    /// The realm that usersync reads.
    pub realm: String,
    /// The realm that contains the client; `None`: the same realm.
    pub client_realm: Option<String>,
    /// The client's id.
    pub client_id: String,
    /// The credentials for the changes.
    pub sign_in: SignIn,
    /// Whether to grant `view-realm` and `view-clients`, which reading roles needs.
    pub view_realm: bool,
    /// Whether to grant `view-organizations`, which reading members of organizations needs.
    pub view_organizations: bool,
    /// The address at which the listener reaches usersync; `None`: the realm's attributes stay unchanged.
    pub address: Option<Url>,
    /// Whether events are signed. If so, or if there is an address, a missing webhook secret is created.
    pub sign_events: bool,
    /// The name of the listener's key, where the realm may use several.
    pub key: Option<String>,
    /// The existing webhook secret; `None`: one is created if events are signed.
    pub webhook_secret: Option<SecretString>,
    /// Minimum time for which events are kept.
    pub expiry: Duration,
}

impl SetupOptions {
    /// Creates options with defaults for all other values.
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
            view_organizations: false,
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
            roles.extend(["view-realm", "view-clients"]);
        }
        if self.view_organizations {
            roles.push(VIEW_ORGANIZATIONS);
        }
        roles
    }
}

/// The steps to apply, in order. `--dry-run` shows them, and [`Setup::apply`] applies them.
#[derive(Debug)]
pub struct Plan {
    steps: Vec<Step>,
    /// Notes for the operator, and the steps that remain manual.
    pub notes: Vec<Note>,
    webhook_secret: Option<SecretString>,
}

impl Plan {
    /// Returns one line per step; none if the realm is set up.
    pub fn lines(&self) -> Vec<String> {
        self.steps.iter().map(ToString::to_string).collect()
    }

    /// Whether there is nothing to apply.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

/// The secrets that result from setup. The caller stores them in files of mode 0600 and never prints them.
#[derive(Debug)]
pub struct Done {
    /// The client's secret.
    pub client_secret: SecretString,
    /// The webhook secret, if one was created.
    pub new_webhook_secret: Option<SecretString>,
}

/// An administrator's session that sets up a realm, or removes usersync from it.
#[derive(Debug)]
pub struct Setup {
    options: SetupOptions,
    admin: Admin,
}

impl Setup {
    /// Finds Keycloak and signs in; changes nothing.
    pub async fn connect(options: SetupOptions) -> Result<Self, SourceError> {
        let admin = Admin::sign_in(&options).await?;
        Ok(Self { options, admin })
    }

    /// Returns the base URL that answered, with or without `/auth`.
    pub fn base_url(&self) -> String {
        self.admin.base_url()
    }

    /// Plans what must be created or repaired.
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

    /// Applies a plan.
    pub async fn apply(&self, plan: Plan) -> Result<Done, SourceError> {
        for step in &plan.steps {
            step.apply(&self.admin, &self.options).await?;
        }
        let client_secret = present::client_secret(&self.admin, &self.options).await?;
        Ok(Done { client_secret, new_webhook_secret: plan.webhook_secret })
    }
}

/// Returns the default name of the listener's key: the realm's name, reduced to what the listener allows (lower-case
/// letters, digits, single hyphens).
fn key_name(realm: &str) -> String {
    let allowed = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let words = realm.to_lowercase();
    let words: Vec<&str> = words.split(|letter| !allowed(letter)).filter(|word| !word.is_empty()).collect();
    if words.is_empty() { "usersync".to_owned() } else { words.join("-") }
}

/// Returns the note about the new webhook secret. The listener takes no secret from the realm's attributes, because all
/// administrators of the realm can read them.
fn give_to_keycloak(options: &SetupOptions) -> Note {
    let address = options.address.as_ref().map_or("URL", Url::as_str);
    let key = options.key.clone().unwrap_or_else(|| key_name(&options.realm));
    let text = format!(
        "a webhook secret is created, and Keycloak needs it too: store it in a file there and start Keycloak with \
         --spi-events-listener-usersync-keys={key} --spi-events-listener-usersync-key-{key}-secret-file=FILE \
         --spi-events-listener-usersync-key-{key}-realms={} \
         --spi-events-listener-usersync-key-{key}-addresses={address}",
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
