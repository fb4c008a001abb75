//! Routes and dispatch of the requests.

use serde_json::{Map, Value, json};

use super::auth::{self, Bucket, Caller};
use super::errors::Refused;
use super::instance::{Call, Jira};
use super::state::{Account, World};
use super::switches::ShownGroups;
use super::{anonymize, groups, projects, render, users};
use crate::fault::Stale;
use crate::front::{App, Reply, Request};

impl Jira {
    fn route(&self, request: &Request, caller: &Caller, stale: Option<Stale>) -> Result<Reply, Refused> {
        let missing = || Refused::no_path(&request.path);
        let segments = request.segments(&self.base_path).ok_or_else(missing)?;
        let path: Vec<&str> = segments.iter().map(String::as_str).collect();
        let site = format!("{}{}", request.origin(), self.base_path);
        let name = match caller {
            Caller::Known(name) => Some(name.as_str()),
            _ => None,
        };
        let (rest, version) = match path.as_slice() {
            ["rest", "api", version @ ("2" | "latest"), rest @ ..] => (rest, *version),
            ["rest", "auth", "1" | "latest", "session"] => {
                return self.session(request, name, &site);
            }
            ["rest", "applinks", "1.0" | "latest", "manifest"] => return Ok(self.manifest(&site)),
            _ => return Err(missing()),
        };
        let call = Call { request, name, api: format!("{site}/rest/api/{version}") };
        if request.method == "GET" {
            // Refused credentials treated as none: an empty list that looks like a valid answer.
            if *caller == Caller::Refused
                && let Some(empty) = empty_answer(rest, &call)
            {
                return Ok(empty);
            }
            return self.versions.read(stale, |world| self.read(world, &call, rest, &site));
        }
        if request.header("user-agent").is_some_and(|agent| agent.starts_with("Mozilla/"))
            && request.header("x-atlassian-token").is_none_or(|value| value != "no-check")
        {
            return Err(Refused::message(403, "XSRF check failed"));
        }
        self.versions.write(|world| self.write(world, &call, rest))
    }

    fn read(&self, world: &World, call: &Call<'_>, rest: &[&str], site: &str) -> Result<Reply, Refused> {
        match rest {
            ["serverInfo"] => Ok(self.server_info(site)),
            ["myself"] => {
                let account = call.account(world).ok_or_else(Refused::unauthorized)?;
                Ok(Reply::json_utf8(200, &render::user(world, &call.api, account, "", ShownGroups::All)))
            }
            ["mypermissions"] => {
                let account = call.account(world).ok_or_else(Refused::unauthorized)?;
                Ok(Reply::json_utf8(200, &permissions(world, account, self.switches().browse_users)))
            }
            ["applicationrole"] => {
                call.demand_admin(world)?;
                let all: Vec<Value> = world.applications.iter().map(|one| render::application(world, one)).collect();
                Ok(Reply::json_utf8(200, &all).with("etag", format!("\"{}\"", all.len())))
            }
            ["applicationrole", key] => {
                call.demand_admin(world)?;
                let found = world.applications.iter().find(|one| one.key == *key);
                let found = found.ok_or_else(|| Refused::message(404, format!("There is no application '{key}'.")))?;
                Ok(Reply::json_utf8(200, &render::application(world, found)))
            }
            ["groups", "picker"] | ["user", "search"] if !self.switches().browse_users => {
                call.demand_user(world)?;
                empty_answer(rest, call).ok_or_else(|| Refused::no_path(&call.request.path))
            }
            ["groups", "picker"] => groups::picker(self, world, call),
            ["project"] => projects::list(self, world, call),
            ["project", key, "components"] => projects::components(world, call, key),
            ["user" | "group", ..] => {
                call.demand_user(world)?;
                match rest {
                    ["user"] => users::get(self, world, call),
                    ["user", "search"] => users::search(self, world, call),
                    ["user", "anonymization", "progress"] => anonymize::progress(self, world, call),
                    ["user", "list"] => users::list(self, world, call),
                    ["user", "duplicated", "count"] => users::duplicated(world, call, true),
                    ["user", "duplicated", "list"] => users::duplicated(world, call, false),
                    ["group"] => groups::get(self, world, call),
                    ["group", "member"] => groups::members(world, call),
                    _ => Err(Refused::no_path(&call.request.path)),
                }
            }
            _ => Err(Refused::no_path(&call.request.path)),
        }
    }

    fn write(&self, world: &mut World, call: &Call<'_>, rest: &[&str]) -> Result<Reply, Refused> {
        match (call.request.method.as_str(), rest) {
            ("POST", ["user"]) => users::create(self, world, call),
            ("PUT", ["user"]) => users::update(self, world, call),
            ("DELETE", ["user"]) => users::delete(self, world, call),
            ("PUT", ["user", "password"]) => users::password(self, world, call),
            ("POST", ["user", "application"]) => users::access(world, call, true),
            ("DELETE", ["user", "application"]) => users::access(world, call, false),
            ("DELETE", ["user", "session", name]) => users::end_session(self, world, call, name),
            ("POST", ["password", "policy", "createUser"]) => {
                let sent: Value = serde_json::from_slice(&call.request.body).map_err(|_| Refused::unreadable())?;
                if sent["username"].as_str().is_none() || sent["password"].as_str().is_none() {
                    return Err(Refused::message(400, "Username and password must be given."));
                }
                Ok(Reply::json_utf8(200, &json!([])))
            }
            ("POST", ["user", "anonymization"]) => anonymize::start(self, world, call),
            ("PUT", ["project", key]) => projects::update(world, call, key),
            ("PUT", ["component", id]) => projects::update_component(world, call, id),
            ("POST", ["group"]) => groups::create(self, world, call),
            ("DELETE", ["group"]) => groups::delete(world, call),
            ("POST", ["group", "user"]) => groups::add_member(world, call),
            ("DELETE", ["group", "user"]) => groups::remove_member(world, call),
            (_, ["user" | "group" | "serverInfo" | "myself"]) => Err(Refused::bare(405)),
            _ => Err(Refused::no_path(&call.request.path)),
        }
    }

    fn server_info(&self, site: &str) -> Reply {
        let identity = self.identity.read();
        let numbers: Vec<u32> = self.version_text.split('.').map(|part| part.parse().unwrap_or(0)).collect();
        Reply::json_utf8(
            200,
            &json!({
                "baseUrl": identity.base_url.as_deref().unwrap_or(site), "version": self.version_text, "versionNumbers": numbers, "deploymentType": "Server",
                "buildNumber": u64::from(self.version.0) * 100_000 + u64::from(self.version.1) * 1000,
                "buildDate": "2026-01-01T00:00:00.000+0000", "scmInfo": "simulator", "serverTitle": identity.title,
            }),
        )
    }

    /// Returns the application link manifest, the only public source of a Jira's server id.
    fn manifest(&self, site: &str) -> Reply {
        let identity = self.identity.read();
        Reply::json_utf8(
            200,
            &json!({
                "id": identity.server_id, "name": identity.title, "typeId": "jira", "version": self.version_text,
                "url": identity.base_url.as_deref().unwrap_or(site), "publicSignup": false,
            }),
        )
    }

    fn session(&self, request: &Request, name: Option<&str>, site: &str) -> Result<Reply, Refused> {
        if request.method != "GET" {
            return Err(Refused::bare(405));
        }
        if !self.switches().basic_allowed {
            return Err(Refused::unauthorized());
        }
        let name = name.ok_or_else(Refused::unauthorized)?;
        let shown =
            json!({ "self": format!("{site}/rest/api/latest/user?username={name}"), "name": name, "loginInfo": {} });
        Ok(Reply::json_utf8(200, &shown))
    }
}

/// Returns the answer to an anonymous caller from a public resource.
fn empty_answer(rest: &[&str], call: &Call<'_>) -> Option<Reply> {
    match rest {
        ["user", "search"] => Some(Reply::json_utf8(200, &json!([]))),
        ["groups", "picker"] => {
            let header = "Showing 0 of 0 matching groups";
            Some(Reply::json_utf8(200, &json!({ "header": header, "total": 0, "groups": [] })))
        }
        ["group", "member"] | ["user", "list"] => {
            let link = format!("{}/{}", call.api, rest.join("/"));
            let mut shown = json!({ "self": link, "maxResults": 50, "isLast": true, "values": [] });
            if rest[0] == "group" {
                shown["startAt"] = json!(0);
                shown["total"] = json!(0);
            }
            Some(Reply::json_utf8(200, &shown))
        }
        _ => None,
    }
}

fn permissions(world: &World, account: &Account, browses: bool) -> Value {
    let one = |key: &str, name: &str, have: bool| {
        let shown = json!({
            "id": "0", "key": key, "name": name, "type": "GLOBAL", "description": "", "havePermission": have,
        });
        (key.to_owned(), shown)
    };
    let all = [
        one("ADMINISTER", "Jira Administrators", world.is_admin(account)),
        one("SYSTEM_ADMIN", "Jira System Administrators", world.is_sysadmin(account)),
        one("USER_PICKER", "Browse users and groups", browses),
    ];
    json!({ "permissions": Map::from_iter(all) })
}

impl App for Jira {
    async fn answer(&self, request: Request, stale: Option<Stale>) -> Reply {
        let switches = self.switches();
        let caller = {
            let credentials = self.credentials.read();
            auth::caller(&request, &credentials, &switches)
        };
        let limited = {
            let mut bucket = self.bucket.lock();
            bucket.as_mut().map(Bucket::take)
        };
        let site = format!("{}{}", request.origin(), self.base_path);
        let early = if limited.as_ref().is_some_and(|(granted, _)| !granted) {
            Some(Reply::empty(429))
        } else if caller == Caller::Refused && switches.refused_as_anonymous {
            None
        } else {
            auth::refusal(&caller, &site)
        };
        let mut reply = match early {
            Some(reply) => reply,
            None => self.route(&request, &caller, stale).unwrap_or_else(Reply::from),
        };
        if let Some((_, headers)) = limited {
            reply.headers.extend(headers);
        }
        if let Some(reason) = auth::reason(&caller) {
            reply.headers.push(("x-seraph-loginreason".into(), reason.into()));
        }
        let name = match &caller {
            Caller::Known(name) => name.as_str(),
            _ => "anonymous",
        };
        reply.with("x-ausername", name)
    }
}
