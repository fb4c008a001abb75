//! Routes and dispatch of the requests.

use serde_json::json;

use super::auth::Grant;
use super::errors::Refused;
use super::federation::Effects;
use super::instance::{Keycloak, RealmCell};
use super::rights::demand;
use super::state::Realm;
use super::{read, token, write};
use crate::fault::Stale;
use crate::front::{App, Reply, Request};

impl Keycloak {
    async fn route(&self, request: &Request, stale: Option<Stale>) -> Result<Reply, Refused> {
        let Some(segments) = request.segments(&self.prefix) else {
            return Err(Refused::error(404, "Unable to find matching target resource method"));
        };
        let path: Vec<&str> = segments.iter().map(String::as_str).collect();
        let method = if request.method == "HEAD" { "GET" } else { request.method.as_str() };
        match (method, path.as_slice()) {
            ("GET", []) => Ok(read::welcome()),
            (_, ["realms", name, rest @ ..]) => {
                let cell = self.cell(name).ok_or_else(|| Refused::error(404, "Realm does not exist"))?;
                match (method, rest) {
                    ("POST", ["protocol", "openid-connect", "token"]) => Ok(token::answer(self, &cell, request).await),
                    (_, ["protocol", "openid-connect", "token"]) => Err(Refused::no_method()),
                    ("GET", []) => Ok(read::public_realm(self, request, name)),
                    ("GET", [".well-known", "openid-configuration"]) => Ok(read::discovery(self, request, name)),
                    _ => Err(Refused::no_path()),
                }
            }
            (_, ["admin", "realms", name, rest @ ..]) => {
                let grant = self.authenticate(request)?;
                let cell = self.cell(name).ok_or_else(|| Refused::error(404, "Realm not found."))?;
                if method == "GET" {
                    return read_realm(&cell, &grant, request, rest, stale).await;
                }
                if (method, rest) == ("DELETE", &[]) {
                    demand(grant.is_administrator())?;
                    self.realms.write().remove(*name);
                    return Ok(Reply::empty(204));
                }
                let rights = cell.versions.read(None, |realm| grant.rights(realm));
                write::answer(self, &cell, &grant.actor, &rights, request, method, rest).await
            }
            ("GET", ["admin", "realms"]) => {
                let grant = self.authenticate(request)?;
                self.list_realms(&grant)
            }
            ("POST", ["admin", "realms"]) => {
                let grant = self.authenticate(request)?;
                demand(grant.is_administrator())?;
                write::create_realm(self, request)
            }
            ("GET", ["admin", "serverinfo"]) => {
                let grant = self.authenticate(request)?;
                let cell = self.cell(&grant.realm).ok_or_else(Refused::unauthorized)?;
                let rights = cell.versions.read(None, |realm| grant.rights(realm));
                demand(!rights.is_none())?;
                let mut shown = json!({ "profileInfo": { "name": "default" } });
                // Only callers that may manage the realm see the version.
                if rights.manage_realm() {
                    shown["systemInfo"] = json!({ "version": self.version });
                }
                Ok(Reply::json(200, &shown))
            }
            (_, ["admin", ..]) => Err(Refused::no_method()),
            _ => Err(Refused::error(404, "Unable to find matching target resource method")),
        }
    }

    fn list_realms(&self, grant: &Grant) -> Result<Reply, Refused> {
        let realms = self.realms.read();
        let shown: Vec<_> = realms
            .values()
            .filter_map(|cell| {
                cell.versions.read(None, |realm| {
                    let rights = grant.rights(realm);
                    (!rights.is_none()).then(|| read::listed_realm(realm, &rights))
                })
            })
            .collect();
        demand(!shown.is_empty())?;
        Ok(Reply::json(200, &shown))
    }
}

/// Answers a GET below a realm, with the side effects that reads of federated users have.
async fn read_realm(
    cell: &RealmCell,
    grant: &Grant,
    request: &Request,
    rest: &[&str],
    stale: Option<Stale>,
) -> Result<Reply, Refused> {
    let reader = |realm: &Realm| grant.rights(realm).view_users() && stale.is_none();
    let effects = cell.versions.read(None, |realm| reader(realm).then(|| Effects::of(realm, request, rest)));
    let effects = effects.unwrap_or_default();
    let imported = if effects.imports() {
        cell.change(&grant.actor, |tx| Ok(tx.import_by_read(&effects))).await?
    } else {
        Vec::new()
    };
    let view = |realm: &Realm| {
        let answer = read::answer(realm, &grant.rights(realm), request, rest, &imported);
        (answer, effects.follows(realm))
    };
    let (answer, follows) = cell.versions.read(stale, view);
    if follows {
        cell.change(&grant.actor, |tx| {
            tx.after_read(&effects);
            Ok(())
        })
        .await?;
    }
    if !effects.wait.is_zero() {
        tokio::time::sleep(effects.wait).await;
    }
    answer
}

impl App for Keycloak {
    async fn answer(&self, request: Request, stale: Option<Stale>) -> Reply {
        let mut reply = self.route(&request, stale).await.unwrap_or_else(Reply::from);
        if request.method == "HEAD" {
            reply.body.clear();
        }
        reply
    }
}
