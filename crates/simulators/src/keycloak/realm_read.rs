//! Reads of clients and components.

use serde_json::{Value, json};

use super::errors::Refused;
use super::federation;
use super::page::{Page, ok};
use super::render::{self, Depth};
use super::rights::{Rights, demand};
use super::roles_read;
use super::state::{Client, Realm};
use crate::front::{Reply, Request};

/// Answers a GET below `/clients`.
pub(crate) fn clients(realm: &Realm, rights: &Rights, request: &Request, rest: &[&str]) -> Result<Reply, Refused> {
    let manage = rights.manage_clients();
    let Some((id, rest)) = rest.split_first() else {
        demand(rights.query_clients())?;
        if !rights.view_clients() {
            return Ok(ok(&json!([])));
        }
        let page = Page::of(request, usize::MAX)?;
        let wanted = request.param("clientId");
        let fits = |client: &&Client| wanted.as_ref().is_none_or(|wanted| *wanted == client.name);
        let found: Vec<&Client> = realm.clients.values().filter(fits).collect();
        let shown: Vec<Value> = page.cut(&found).iter().map(|client| render::client(client, manage)).collect();
        return Ok(ok(&shown));
    };
    demand(rights.query_clients())?;
    let client = realm.client(id).ok_or_else(|| Refused::error(404, "Could not find client"))?;
    demand(rights.view_clients())?;
    match rest {
        [] => Ok(ok(&render::client(client, manage))),
        ["client-secret"] => {
            demand(manage)?;
            Ok(ok(&json!({ "type": "secret", "value": client.secret })))
        }
        ["service-account-user"] => {
            let text = format!("Service account not enabled for the client '{}'", client.name);
            let user = client.service_account.as_ref().and_then(|id| realm.users.get(id));
            let user = user.ok_or_else(|| Refused::error(400, &text))?;
            Ok(ok(&render::user(realm, user, Depth::Full, None)))
        }
        ["roles", rest @ ..] => roles_read::in_container(realm, rights, request, Some(&client.id), rest),
        _ => Err(Refused::no_path()),
    }
}

/// Answers a GET below `/components`.
pub(crate) fn components(realm: &Realm, rights: &Rights, rest: &[&str]) -> Result<Reply, Refused> {
    demand(rights.view_realm())?;
    match rest {
        [] => {
            let found = realm.federations.keys().filter_map(|id| Some((id, realm.federation(id)?)));
            let shown: Vec<Value> = found.map(|(id, one)| federation::component(realm, id, one)).collect();
            Ok(ok(&shown))
        }
        [id] => {
            let found = realm.federation(id).ok_or_else(federation::no_component)?;
            Ok(ok(&federation::component(realm, id, found)))
        }
        _ => Err(Refused::no_path()),
    }
}

/// Answers a GET below `/user-storage`.
pub(crate) fn user_storage(realm: &Realm, rights: &Rights, rest: &[&str]) -> Result<Reply, Refused> {
    let [id, "name"] = rest else { return Err(Refused::no_path()) };
    demand(rights.view_users())?;
    realm.federation(id).ok_or_else(federation::no_component)?;
    Ok(ok(&json!({ "name": "ldap", "id": id })))
}
