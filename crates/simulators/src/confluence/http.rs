//! Routes and dispatch of the requests.

use serde_json::json;

use super::auth::{self, Caller};
use super::errors::Refused;
use super::instance::{Call, Confluence};
use super::state::World;
use super::{groups, rpc, users};
use crate::fault::Stale;
use crate::front::{App, Reply, Request};

impl Confluence {
    /// Advances background work; each request does so.
    fn advance(&self) {
        let done = self.tasks.lock().advance();
        if !done.is_empty() {
            self.versions.change(|world| {
                for key in &done {
                    world.identities.remove(key);
                }
            });
        }
    }

    fn route(&self, call: &Call<'_>, stale: Option<Stale>) -> Result<Reply, Refused> {
        let request = call.request;
        let missing = || Refused::no_path(&request.path);
        let segments = request.segments(&self.base_path).ok_or_else(missing)?;
        let path: Vec<&str> = segments.iter().map(String::as_str).collect();
        let rest = match path.as_slice() {
            ["rest", "api", rest @ ..] => rest,
            ["rest", "applinks", "1.0" | "latest", "manifest"] => return self.manifest(call),
            ["rest", "license", "1.0", "license", "remainingSeats"] => {
                return self.versions.read(stale, |world| {
                    call.demand_user(world)?;
                    Ok(Reply::json(200, &json!({ "count": world.free_seats().map_or(-1, usize::cast_signed) })))
                });
            }
            ["rpc", "json-rpc", "confluenceservice-v2"] if request.method == "POST" => {
                return self.versions.write(|world| Ok(rpc::call(world, call)));
            }
            _ => return Err(missing()),
        };
        match request.method.as_str() {
            "GET" => self.versions.read(stale, |world| self.read(world, call, rest)),
            "OPTIONS" => self.options(call, rest),
            _ if request.header("user-agent").is_some_and(|agent| agent.starts_with("Mozilla/"))
                && request.header("x-atlassian-token").is_none_or(|value| value != "no-check") =>
            {
                Err(Refused::message(403, "XSRF check failed"))
            }
            "DELETE" if matches!(rest, ["admin", "user", _]) && self.features.administers => {
                self.versions.read(None, |world| users::delete(self, world, call, rest[2]))
            }
            _ => self.versions.write(|world| self.write(world, call, rest)),
        }
    }

    fn read(&self, world: &World, call: &Call<'_>, rest: &[&str]) -> Result<Reply, Refused> {
        match rest {
            ["server-information"] if self.features.ten => {
                call.account(world).ok_or_else(Refused::unauthorized)?;
                let shown = json!({
                    "baseUrl": call.site, "version": self.version_text, "buildNumber": 10_000,
                    "marketplaceBuildNumber": 10_000, "buildDate": "2026-01-01",
                });
                Ok(Reply::json(200, &shown))
            }
            ["user"] => users::get(world, call),
            ["user", "current"] => Ok(users::current(world, call)),
            ["user", "list"] if self.features.lists => users::list(world, call, false),
            ["user", "memberof"] => users::member_of(world, call),
            ["admin", "users", "list", "active"] if self.features.lists => users::list(world, call, true),
            ["group"] => groups::list(world, call),
            ["group", name] => groups::get(world, call, name),
            ["group", name, "member"] => groups::members(world, call, name),
            ["permissions", "group", name] if self.features.ten => groups::permissions(world, call, name),
            ["longtask", id] => {
                let tasks = self.tasks.lock();
                let shown = tasks.show(id).ok_or_else(|| Refused::message(404, format!("No task found: {id}")))?;
                Ok(Reply::json(200, &shown))
            }
            ["admin", "user", ..] => Err(Refused::no_method()),
            _ => Err(Refused::no_path(&call.request.path)),
        }
    }

    fn write(&self, world: &mut World, call: &Call<'_>, rest: &[&str]) -> Result<Reply, Refused> {
        let features = self.features;
        match (call.request.method.as_str(), rest) {
            ("POST", ["admin", "user"]) if features.creates => users::create(world, call),
            ("PUT", ["admin", "user", name]) if features.updates => users::update(world, call, name),
            ("PUT", ["admin", "user", name, "enable"]) if features.administers => {
                users::set_active(world, call, name, true)
            }
            ("PUT", ["admin", "user", name, "disable"]) if features.administers => {
                users::set_active(world, call, name, false)
            }
            ("PUT", ["user", name, "group", group]) if features.administers => {
                users::membership(world, call, name, group, true)
            }
            ("DELETE", ["user", name, "group", group]) if features.administers => {
                users::membership(world, call, name, group, false)
            }
            ("POST", ["admin", "group"]) => groups::create(world, call),
            ("DELETE", ["admin", "group", name]) => groups::delete(world, call, name),
            (_, ["admin", "user", _]) if features.administers => Err(Refused::no_method()),
            (_, ["user" | "group", ..]) => Err(Refused::no_method()),
            _ => Err(Refused::no_path(&call.request.path)),
        }
    }

    /// Returns the methods of a resource.
    fn options(&self, call: &Call<'_>, rest: &[&str]) -> Result<Reply, Refused> {
        if !call.switches.answers_options {
            return Err(Refused::no_method());
        }
        let allowed = match rest {
            ["admin", "user", _] if self.features.updates => "PUT,DELETE,OPTIONS",
            ["admin", "user", _] if self.features.administers => "DELETE,OPTIONS",
            _ => return Err(Refused::no_path(&call.request.path)),
        };
        Ok(Reply::empty(200).with("allow", allowed))
    }

    /// Returns the application link manifest, the only public source of a Confluence's server id.
    fn manifest(&self, call: &Call<'_>) -> Result<Reply, Refused> {
        if !call.switches.manifest_open {
            return Err(Refused::forbidden());
        }
        let id = self.server_id.read();
        let shown = json!({
            "id": *id, "name": "Confluence", "typeId": "confluence", "version": self.version_text, "url": call.site,
            "publicSignup": false,
        });
        Ok(Reply::json(200, &shown))
    }
}

impl App for Confluence {
    async fn answer(&self, request: Request, stale: Option<Stale>) -> Reply {
        self.advance();
        let switches = self.switches();
        let caller = {
            let credentials = self.credentials.read();
            auth::caller(&request, &credentials, &switches)
        };
        let site = format!("{}{}", request.origin(), self.base_path);
        let low = request.path.to_ascii_lowercase();
        let early = if low.contains("%2f") || low.contains("%5c") {
            // The servlet container refuses these before Confluence sees them.
            let mut page = Reply::empty(400).with("content-type", "text/html");
            page.body = "<html><body><h1>HTTP Status 400 – Bad Request</h1></body></html>".into();
            Some(page)
        } else if caller == Caller::Refused && switches.refused_as_anonymous {
            None
        } else {
            auth::refusal(&caller, &site)
        };
        let name = match &caller {
            Caller::Known(name) => Some(name.as_str()),
            _ => None,
        };
        let (base_path, features) = (self.base_path.as_str(), self.features);
        let call = Call { request: &request, name, site, base_path, switches: &switches, features };
        let mut reply = early.unwrap_or_else(|| self.route(&call, stale).unwrap_or_else(Reply::from));
        if let Some(reason) = auth::reason(&caller) {
            reply.headers.push(("x-seraph-loginreason".into(), reason.into()));
        }
        // An HTTP header needs percent-encoding.
        let shown = url::form_urlencoded::byte_serialize(name.unwrap_or("anonymous").as_bytes()).collect::<String>();
        reply.with("x-ausername", shown)
    }
}
