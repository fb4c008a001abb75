//! Routes and dispatch of the requests.

use serde_json::{Value, json};

use super::auth::{self, Caller};
use super::errors::Refused;
use super::instance::{Bitbucket, Call};
use super::state::{Permission, World};
use super::{groups, permissions, users};
use crate::fault::Stale;
use crate::front::{App, Reply, Request, form_encoded};

impl Bitbucket {
    fn route(&self, request: &Request, caller: &Caller, stale: Option<Stale>) -> Result<Reply, Refused> {
        let missing = || Refused::no_path(&request.path);
        let segments = request.segments(&self.base_path).ok_or_else(missing)?;
        let path: Vec<&str> = segments.iter().map(String::as_str).collect();
        if let ["rest", "applinks", "1.0" | "latest", "manifest"] = path.as_slice() {
            return Ok(self.manifest(&format!("{}{}", request.origin(), self.base_path)));
        }
        let ["rest", "api", "1.0" | "latest", rest @ ..] = path.as_slice() else { return Err(missing()) };
        let name = match caller {
            // HTTP access tokens have no administration rights (BSERV-10482).
            Caller::ByToken(_) if rest.first() == Some(&"admin") => return Err(Refused::no_right()),
            Caller::Known(name) | Caller::ByToken(name) => Some(name.as_str()),
            _ => None,
        };
        let call = Call { request, name };
        if request.method == "GET" {
            return self.versions.read(stale, |world| self.read(world, &call, rest));
        }
        let checked = request.header("x-atlassian-token").is_some_and(|value| value == "no-check");
        let json = request.header("content-type").is_some_and(|kind| kind.starts_with("application/json"));
        if !checked && !json && request.method == "POST" {
            return Err(Refused::message(403, "XSRF check failed"));
        }
        self.versions.write(|world| self.write(world, &call, rest))
    }

    fn read(&self, world: &World, call: &Call<'_>, rest: &[&str]) -> Result<Reply, Refused> {
        if rest == ["application-properties"] {
            return Ok(Reply::json_utf8(
                200,
                &json!({
                    "version": self.version, "buildNumber": "10000001", "buildDate": "1768145580548",
                    "displayName": "Bitbucket",
                }),
            ));
        }
        let least = match rest {
            ["admin", "users" | "groups", ..] => Permission::LicensedUser,
            _ => Permission::Admin,
        };
        call.demand(world, least)?;
        match rest {
            ["admin", "users"] => users::list(self, world, call),
            ["admin", "users", "more-members"] => users::groups(self, world, call),
            ["admin", "groups"] => groups::list(self, world, call),
            ["admin", "groups", "more-members"] => groups::members(self, world, call),
            ["admin", "permissions", "groups"] => permissions::list(self, world, call, true),
            ["admin", "permissions", "users"] => permissions::list(self, world, call, false),
            ["admin", "license"] => Ok(Reply::json_utf8(200, &self.license(world))),
            ["admin", "user-directories"] => {
                Ok(Reply::json_utf8(200, &directories(world, call.request.flag("includeInactive"))))
            }
            _ => Err(Refused::no_path(&call.request.path)),
        }
    }

    fn write(&self, world: &mut World, call: &Call<'_>, rest: &[&str]) -> Result<Reply, Refused> {
        call.demand(world, Permission::Admin)?;
        match (call.request.method.as_str(), rest) {
            ("POST", ["admin", "users"]) => users::create(self, world, call),
            ("PUT", ["admin", "users"]) => users::update(world, call),
            ("DELETE", ["admin", "users"]) => users::delete(world, call),
            ("POST", ["admin", "users", "rename"]) => users::rename(self, world, call),
            ("PUT", ["admin", "users", "credentials"]) => users::password(self, world, call),
            ("POST", ["admin", "users", "add-groups"]) => groups::add_groups(self, world, call),
            ("POST", ["admin", "users", "remove-group"]) => groups::remove(self, world, call, true),
            ("POST", ["admin", "groups"]) => groups::create(world, call),
            ("DELETE", ["admin", "groups"]) => groups::delete(world, call),
            ("POST", ["admin", "groups", "add-users"]) => groups::add_users(self, world, call),
            ("POST", ["admin", "groups", "remove-user"]) => groups::remove(self, world, call, false),
            ("PUT", ["admin", "permissions", kind @ ("groups" | "users")]) => {
                permissions::give(world, call, *kind == "groups")
            }
            ("DELETE", ["admin", "permissions", kind @ ("groups" | "users")]) => {
                permissions::take(world, call, *kind == "groups")
            }
            _ => Err(Refused::no_path(&call.request.path)),
        }
    }

    /// Returns the application link manifest.
    fn manifest(&self, site: &str) -> Reply {
        let id = self.server_id.read().clone();
        let shown = json!({
            "id": id, "name": "Bitbucket", "typeId": "stash", "version": self.version, "url": site, "publicSignup": false,
        });
        Reply::json(200, &shown)
    }

    fn license(&self, world: &World) -> Value {
        let server_id = self.server_id.read().clone();
        json!({
            "license": "simulator", "creationDate": 1_768_145_580_548_i64,
            "maximumNumberOfUsers": world.seats.map_or(-1, |seats| i64::try_from(seats).unwrap_or(i64::MAX)),
            "unlimitedNumberOfUsers": world.seats.is_none(), "serverId": server_id,
            "status": { "serverId": server_id, "currentNumberOfUsers": world.licensed() },
        })
    }
}

fn directories(world: &World, inactive: bool) -> Value {
    let shown = world.directories.iter().filter(|one| one.active || inactive);
    shown.map(|one| json!({ "name": one.name, "type": one.kind, "description": "", "active": one.active })).collect()
}

impl App for Bitbucket {
    async fn answer(&self, request: Request, stale: Option<Stale>) -> Reply {
        let switches = self.switches();
        let caller = {
            let credentials = self.credentials.read();
            auth::caller(&request, &credentials, &switches)
        };
        let site = format!("{}{}", request.origin(), self.base_path);
        let reply = match auth::refusal(&caller, &site) {
            Some(reply) => reply,
            None => self.route(&request, &caller, stale).unwrap_or_else(Reply::from),
        };
        match caller {
            Caller::Known(name) | Caller::ByToken(name) if switches.names_caller => {
                let shown =
                    self.versions.read(None, |world| world.identities.named(&name).map(|account| account.name.clone()));
                reply.with("x-ausername", form_encoded(&shown.unwrap_or(name)))
            }
            _ => reply,
        }
    }
}
