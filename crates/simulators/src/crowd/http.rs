//! Routes and dispatch of the requests.

use serde_json::json;

use super::errors::Refused;
use super::instance::{Call, Crowd};
use super::state::World;
use super::{attributes, auth, groups, users};
use crate::fault::Stale;
use crate::front::{App, Reply, Request};

impl Crowd {
    fn route(&self, request: &Request, stale: Option<Stale>) -> Result<Reply, Refused> {
        let segments = request.segments(&self.base_path).ok_or_else(|| Refused::bare(404))?;
        let path: Vec<&str> = segments.iter().map(String::as_str).collect();
        let (rest, version) = match path.as_slice() {
            ["rest", "usermanagement", version @ ("1" | "latest"), rest @ ..] => (rest, *version),
            ["rest", "applinks", "1.0", "manifest"] => return self.manifest(request),
            _ => return Err(Refused::bare(404)),
        };
        let switches = self.switches();
        if switches.address_refused {
            let text = "Client with address \"127.0.0.1\" is forbidden from making requests to the application";
            return Err(Refused::new(403, "APPLICATION_ACCESS_DENIED", text));
        }
        if switches.bad_credentials || !auth::is_valid(request, &self.application) {
            return Ok(auth::refusal());
        }
        let api = format!("{}{}/rest/usermanagement/{version}", request.origin(), self.base_path);
        let call = Call { request, crowd: self, api };
        if request.method == "GET" {
            return self.versions.read(stale, |world| read(world, &call, rest));
        }
        self.versions.write(|world| write(world, &call, rest))
    }

    /// Returns the application link manifest of a Jira, the only public source of its server id.
    fn manifest(&self, request: &Request) -> Result<Reply, Refused> {
        let version = self.jira.as_ref().ok_or_else(|| Refused::bare(404))?;
        let site = format!("{}{}", request.origin(), self.base_path);
        Ok(Reply::json(
            200,
            &json!({ "id": self.server_id, "name": "Jira", "typeId": "jira", "version": version, "url": site }),
        ))
    }
}

fn read(world: &World, call: &Call<'_>, rest: &[&str]) -> Result<Reply, Refused> {
    match rest {
        ["user"] => users::get(world, call),
        ["user", "attribute"] => attributes::get(world, call),
        ["user", "group", depth @ ("direct" | "nested")] => users::groups(world, call, *depth == "nested"),
        ["search"] => users::search(world, call),
        ["group"] => groups::get(world, call),
        ["group", "membership"] => groups::memberships(world, call),
        ["group", "user", depth @ ("direct" | "nested")] => groups::members(world, call, *depth == "nested"),
        ["group", "child-group", depth @ ("direct" | "nested")] => groups::children(world, call, *depth == "nested"),
        _ => Err(Refused::bare(404)),
    }
}

fn write(world: &mut World, call: &Call<'_>, rest: &[&str]) -> Result<Reply, Refused> {
    match (call.request.method.as_str(), rest) {
        ("POST", ["user"]) => users::create(world, call),
        ("PUT", ["user"]) => users::update(world, call),
        ("DELETE", ["user"]) => users::delete(world, call),
        ("POST", ["user", "rename"]) => users::rename(world, call),
        ("POST", ["user", "attribute"]) => attributes::store(world, call),
        ("DELETE", ["user", "attribute"]) => attributes::remove(world, call),
        ("POST", ["group"]) => groups::create(world, call),
        ("PUT", ["group"]) => groups::update(world, call),
        ("DELETE", ["group"]) => groups::delete(world, call),
        ("POST", ["group", "user", "direct"]) => groups::add_member(world, call),
        ("DELETE", ["group", "user", "direct"]) => groups::remove_member(world, call),
        (_, ["user" | "group" | "search"]) => Err(Refused::bare(405)),
        _ => Err(Refused::bare(404)),
    }
}

impl App for Crowd {
    async fn answer(&self, request: Request, stale: Option<Stale>) -> Reply {
        let reply = self.route(&request, stale).unwrap_or_else(Reply::from);
        if !self.switches().version_header {
            return reply;
        }
        reply.with("x-embedded-crowd-version", format!("Crowd/{}", self.version_text))
    }
}
