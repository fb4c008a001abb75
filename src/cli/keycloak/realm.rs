//! Arguments that select the realm, and the administrator that changes it.

use std::{io::IsTerminal, path::PathBuf};

use clap::Args;
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use secrecy::SecretString;
use url::Url;

use crate::{
    cli::{Context, app, args::server_url, exit::Failure},
    config::{RealmConfig, find},
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
    /// Use the realm of this configured connector
    #[arg(long, value_name = "NAME", conflicts_with_all = ["url", "realm", "client_id", "client_realm"])]
    connector: Option<ConnectorName>,
    /// Keycloak's address, with or without /auth, if no connector is configured yet
    #[arg(long, value_name = "URL", requires = "realm", value_parser = server_url)]
    url: Option<Url>,
    /// Realm name; the connector is expected to have the same name
    #[arg(long, value_name = "REALM", requires = "url")]
    realm: Option<String>,
    /// Client that usersync signs in with
    #[arg(long, value_name = "ID", requires = "url")]
    client_id: Option<String>,
    /// Realm of the client, if it is a different one
    #[arg(long, value_name = "REALM", requires = "url")]
    client_realm: Option<String>,
    /// Administrator's login; the password comes from `KEYCLOAK_ADMIN_PASSWORD`, or from a prompt
    #[arg(long, value_name = "LOGIN", default_value = "admin")]
    admin: String,
    /// Administrator's realm
    #[arg(long, value_name = "REALM", default_value = "master")]
    admin_realm: String,
}

/// The selected realm, with its connector if it has one.
pub(super) struct Known {
    pub connector: Option<RealmConfig>,
    /// Base name of the files.
    pub name: String,
    /// Default folder of the files: that of the configuration, else the working directory.
    pub folder: PathBuf,
}

impl Realm {
    /// Finds the selected connector. It needs no selection if it is the only one. Only its own part of the
    /// configuration has to be valid.
    pub fn known(&self, context: &Context) -> Result<Known, Failure> {
        if let Some(realm) = &self.realm {
            return Ok(Known { connector: None, name: realm.clone(), folder: PathBuf::new() });
        }
        let path = find(context.reported.as_deref(), &context.env).map_err(|errors| context.wrong(&errors))?;
        let connectors = RealmConfig::load(&path, &context.env).map_err(|errors| context.wrong(&errors))?;
        if let Some(name) = &self.connector {
            let names: Vec<&str> = connectors.iter().map(|(name, _)| name.as_str()).collect();
            app::known("connector", &names, name.as_str())?;
        }
        let chosen = |name: &ConnectorName| self.connector.as_ref().is_none_or(|chosen| chosen == name);
        let mut connectors = connectors.into_iter().filter(|(name, _)| chosen(name));
        let (first, more) = (connectors.next(), connectors.next().is_some());
        match first {
            Some((name, connector)) if !more => Ok(Known {
                connector: Some(connector.map_err(|errors| context.wrong(&errors))?),
                name: name.to_string(),
                folder: path.parent().map(PathBuf::from).unwrap_or_default(),
            }),
            Some(_) => Err(Failure::usage("Which realm? Choose a connector: --connector NAME")),
            None => Err(Failure::usage("Which realm? The configuration has no connector: --url URL --realm REALM")),
        }
    }

    /// Returns the options of a session; prompts for the password, unless the environment has it.
    pub async fn options(&self, context: &Context, known: &Known) -> Result<SetupOptions, Failure> {
        let sign_in = self.sign_in(context).await?;
        if let Some(connector) = &known.connector {
            let connection = Connection::by(&connector.url, &connector.reach);
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

    async fn sign_in(&self, context: &Context) -> Result<SignIn, Failure> {
        let given = |name: &str| context.env.get(name).filter(|value| !value.is_empty()).map(SecretString::from);
        if let Some(token) = given(TOKEN) {
            return Ok(SignIn::Token(token));
        }
        let password = match given(PASSWORD) {
            Some(password) => password,
            None if std::io::stdin().is_terminal() => {
                let prompt = format!("Password of {} in realm {}: ", self.admin, self.admin_realm);
                let typed = ask(prompt)
                    .await
                    .map_err(|error| Failure::usage(format!("the password cannot be read: {error}")))?;
                SecretString::from(typed)
            }
            None => {
                return Err(Failure::usage(format!(
                    "The administrator's password is required, and there is no terminal for a prompt: set {PASSWORD}, \
                     or {TOKEN}"
                )));
            }
        };
        Ok(SignIn::Password { realm: self.admin_realm.clone(), username: self.admin.clone(), password })
    }
}

/// Prompts on the terminal, and restores the terminal's settings even if the prompt is interrupted.
async fn ask(prompt: String) -> std::io::Result<String> {
    let _terminal = Terminal::keep();
    tokio::task::spawn_blocking(|| rpassword::prompt_password(prompt)).await.map_err(std::io::Error::other)?
}

/// The terminal's settings, restored on drop.
struct Terminal(Option<Termios>);

impl Terminal {
    fn keep() -> Self {
        Self(tcgetattr(std::io::stdin()).ok())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(settings) = &self.0 {
            // This fails only if the terminal is gone.
            let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, settings);
        }
    }
}
