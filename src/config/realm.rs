//! Reads a connector's connection to its realm separately. `usersync keycloak setup` needs nothing else, and creates
//! the secrets without which the whole configuration cannot be loaded.

use std::path::Path;

use jiff::Timestamp;
use url::Url;

use super::{
    ConfigErrors, Env, Reach, Secret,
    connection::{reach, server_url},
    connector::{CLIENT_SECRET, HOOK_SECRET},
    problem::Shown,
    read_file,
    reader::{Reader, Table},
    values,
    whole::{document, failure, written_name},
};
use crate::model::ConnectorName;

/// A connector's connection to its realm, and where its secrets are stored. The secrets need not exist.
#[derive(Clone, Debug)]
pub struct RealmConfig {
    /// The connector.
    pub name: ConnectorName,
    /// Keycloak's address, with or without `/auth`.
    pub url: Url,
    /// The realm that is read.
    pub realm: String,
    /// The realm that the client signs in to.
    pub client_realm: String,
    /// The client with the service account.
    pub client_id: String,
    /// The connection settings for Keycloak.
    pub reach: Reach,
    /// The client's secret; `None`: its location is not configured.
    pub client_secret: Option<Secret>,
    /// The secret that signs pushed events; `None`: its location is not configured.
    pub hook_secret: Option<Secret>,
}

/// A connector of the file, or the errors in its own part.
pub type Found = (ConnectorName, Result<RealmConfig, ConfigErrors>);

impl RealmConfig {
    /// Loads every connector of the file, each with the errors in its own part. Errors elsewhere are not reported.
    pub fn load(path: &Path, env: &Env) -> Result<Vec<Found>, ConfigErrors> {
        let text = read_file(path).map_err(|why| failure(path, &format!("it cannot be read: {why}"), None))?;
        let shown = Shown::new(path, &text);
        let document = document(&text, &shown)?;
        let reader = Reader::new(path, shown, env, Timestamp::now());
        let tables = reader.root(&document).each("connector");
        reader.take_errors();
        let read = tables.iter().filter_map(|table| {
            let name = ConnectorName::from(written_name(table)?);
            let connector = read(table);
            let errors = reader.take_errors();
            Some((name, connector.filter(|_| errors.is_empty()).ok_or(ConfigErrors::new(errors))))
        });
        Ok(read.collect())
    }
}

fn read(table: &Table<'_>) -> Option<RealmConfig> {
    let name = table.read("name", values::name);
    let url = server_url(table);
    let realm = table.read("realm", values::string);
    let client_realm = table.read("client_realm", values::string);
    let client_id = table.read("client_id", values::string);
    let reach = reach(table);
    let realm = realm?;
    Some(RealmConfig {
        name: name?.into(),
        url: url?,
        client_realm: client_realm.unwrap_or_else(|| realm.clone()),
        realm,
        client_id: client_id?,
        reach: reach?,
        client_secret: table.secret_place(CLIENT_SECRET),
        hook_secret: table.secret_place(HOOK_SECRET),
    })
}
