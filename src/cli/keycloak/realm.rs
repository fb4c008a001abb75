//! Which realm, and who makes the changes.

use std::io::IsTerminal;

use clap::Args;
use secrecy::SecretString;
use url::Url;

use crate::{
    cli::{Context, app, exit::Failure},
    config::{Config, ConnectorConfig},
    keycloak::{
        Connection,
        setup::{SetupOptions, SignIn},
    },
    model::ConnectorName,
};

const PASSWORD: &str = "KEYCLOAK_ADMIN_PASSWORD";
const TOKEN: &str = "KEYCLOAK_ADMIN_TOKEN";

#[derive(Debug, Args)]
#[expect(clippy::struct_field_names, reason = "named as the options are")]
pub(super) struct Realm {
    /// The realm of this connector of the configuration
    #[arg(long, value_name = "NAME", conflicts_with_all = ["url", "realm", "client_id", "client_realm"])]
    connector: Option<ConnectorName>,
    /// Keycloak's address, with or without /auth, where no connector is configured yet
    #[arg(long, value_name = "URL", requires = "realm")]
    url: Option<Url>,
    /// The realm
    #[arg(long, value_name = "REALM", requires = "url")]
    realm: Option<String>,
    /// The client that usersync signs in with
    #[arg(long, value_name = "ID", requires = "url")]
    client_id: Option<String>,
    /// The realm that the client is in, if that is another
    #[arg(long, value_name = "REALM", requires = "url")]
    client_realm: Option<String>,
    /// The administrator's login; the password is taken from `KEYCLOAK_ADMIN_PASSWORD`, or asked for
    #[arg(long, value_name = "LOGIN", default_value = "admin")]
    admin: String,
    /// The administrator's realm
    #[arg(long, value_name = "REALM", default_value = "master")]
    admin_realm: String,
}

/// The realm that is meant, with its connector where it has one.
pub(super) struct Known {
    pub config: Option<Config>,
    pub connector: Option<ConnectorConfig>,
    /// How files are called.
    pub name: String,
}

impl Known {
    /// The last part of the hook's path.
    pub fn hook_name(&self) -> String {
        self.connector.as_ref().map_or_else(|| self.name.clone(), |connector| connector.name.to_string())
    }
}

impl Realm {
    /// Finds the connector that is meant; with one alone, nobody has to name it.
    pub fn known(&self, context: &Context) -> Result<Known, Failure> {
        if let Some(realm) = &self.realm {
            return Ok(Known { config: None, connector: None, name: realm.clone() });
        }
        let config = context.config()?;
        if let Some(name) = &self.connector {
            app::known_connector(&config, name)?;
        }
        let chosen = |one: &&ConnectorConfig| self.connector.as_ref().is_none_or(|name| *name == one.name);
        let mut connectors = config.connectors.iter().filter(chosen);
        let (first, more) = (connectors.next().cloned(), connectors.next().is_some());
        match first {
            Some(connector) if !more => {
                let name = connector.name.to_string();
                Ok(Known { config: Some(config), connector: Some(connector), name })
            }
            Some(_) => Err(Failure::usage("Which realm? Choose a connector: --connector NAME")),
            None => Err(Failure::usage("Which realm? The configuration has no connector: --url URL --realm REALM")),
        }
    }

    /// What a session needs; asks for the password, unless the environment has it.
    pub fn options(&self, context: &Context, known: &Known) -> Result<SetupOptions, Failure> {
        let sign_in = self.sign_in(context)?;
        if let Some(connector) = &known.connector {
            let connection = Connection::from(connector);
            let mut options =
                SetupOptions::new(connection, connector.realm.as_str(), connector.client_id.as_str(), sign_in);
            options.client_realm = (connector.client_realm != connector.realm).then(|| connector.client_realm.clone());
            return Ok(options);
        }
        let (Some(url), Some(realm)) = (&self.url, &self.realm) else {
            return Err(Failure::usage("Which realm? --connector NAME, or --url URL --realm REALM"));
        };
        let client = self.client_id.as_deref().unwrap_or("usersync");
        let mut options = SetupOptions::new(Connection::new(url.clone()), realm.as_str(), client, sign_in);
        options.client_realm.clone_from(&self.client_realm);
        Ok(options)
    }

    fn sign_in(&self, context: &Context) -> Result<SignIn, Failure> {
        let given = |name: &str| context.env.get(name).filter(|value| !value.is_empty()).map(SecretString::from);
        if let Some(token) = given(TOKEN) {
            return Ok(SignIn::Token(token));
        }
        let password = match given(PASSWORD) {
            Some(password) => password,
            None if std::io::stdin().is_terminal() => {
                let prompt = format!("Password of {} in realm {}: ", self.admin, self.admin_realm);
                let typed = rpassword::prompt_password(prompt)
                    .map_err(|error| Failure::usage(format!("the password cannot be read: {error}")))?;
                SecretString::from(typed)
            }
            None => {
                return Err(Failure::usage(format!(
                    "The administrator's password is needed, and there is no terminal to ask for it: set {PASSWORD}, or \
                     {TOKEN}"
                )));
            }
        };
        Ok(SignIn::Password { realm: self.admin_realm.clone(), username: self.admin.clone(), password })
    }
}
