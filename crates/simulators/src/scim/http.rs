//! Routes and dispatch of the requests.

use std::sync::Arc;
use std::time::Duration;

use super::errors::Refused;
use super::instance::{Call, Scim};
use super::state::Item;
use super::{auth, bulk, discovery, groups, users};
use crate::fault::Stale;
use crate::front::{App, Reply, Request};

/// Delay of a PATCH between its read and its write, if PATCH requests race.
const RACE: Duration = Duration::from_millis(30);

impl Scim {
    /// Answers a request. `read` is an earlier state of the group; the change is applied to it and overwrites the
    /// current one.
    fn route(&self, request: &Request, stale: Option<Stale>, read: Option<Arc<Item>>) -> Result<Reply, Refused> {
        let switches = self.switches();
        let nothing = || Refused::new(404, None, "There is nothing at this address.");
        let segments = request.segments(&self.base_path).ok_or_else(nothing)?;
        self.access.lock().admit(request)?;
        let base = format!("{}{}", request.origin(), switches.own_base.unwrap_or(&self.base_path));
        let call = Call { request, switches: &switches, base };
        let path: Vec<&str> = segments.iter().map(String::as_str).collect();
        if switches.no_groups && path.first() == Some(&"Groups") {
            return Err(nothing());
        }
        if request.method == "GET" {
            return self.versions.read(stale, |world| match path.as_slice() {
                ["ServiceProviderConfig" | "ResourceTypes" | "Schemas", ..] if switches.discovery_off => Err(nothing()),
                ["ServiceProviderConfig"] => Ok(discovery::config(&call)),
                ["ResourceTypes"] => Ok(discovery::types(&call)),
                ["Schemas"] => Ok(discovery::schemas(&call)),
                ["Users"] => users::list(world, &call),
                ["Users", id] => users::get(world, &call, id),
                ["Groups"] => groups::list(world, &call),
                ["Groups", id] => groups::get(world, &call, id),
                _ => Err(nothing()),
            });
        }
        if request.method == "PATCH" && !switches.patch {
            return Err(Refused::new(501, None, "PATCH is not supported."));
        }
        if request.method == "POST" && path == ["Bulk"] && switches.bulk > 0 {
            let run = |one: &Request| self.route(one, None, None).unwrap_or_else(Reply::from);
            return bulk::bulk(self, request, run);
        }
        self.versions.write(|world| match (request.method.as_str(), path.as_slice()) {
            ("POST", ["Users"]) => users::create(world, &call),
            ("PUT", ["Users", id]) => users::replace(world, &call, id),
            ("PATCH", ["Users", id]) => users::patch(world, &call, id),
            ("DELETE", ["Users", id]) => users::delete(world, &call, id),
            ("POST", ["Groups"]) => groups::create(world, &call),
            ("PUT", ["Groups", id]) => groups::replace(world, &call, id),
            ("PATCH", ["Groups", id]) => {
                if let Some(read) = read {
                    world.groups.put(Item::clone(&read));
                }
                groups::patch(world, &call, id)
            }
            ("DELETE", ["Groups", id]) => groups::delete(world, &call, id),
            _ => Err(nothing()),
        })
    }
}

impl App for Scim {
    async fn answer(&self, request: Request, stale: Option<Stale>) -> Reply {
        if request.method == "PATCH" && self.switches().patch_races {
            // An early read of the group, on which the write is based.
            let segments = request.segments(&self.base_path).unwrap_or_default();
            let read = segments.last().and_then(|id| self.versions.read(None, |world| world.groups.get(id).cloned()));
            tokio::time::sleep(RACE).await;
            return self.route(&request, stale, read).unwrap_or_else(Reply::from);
        }
        if request.path == auth::TOKEN_PATH {
            let life = self.switches().token_life;
            return self.access.lock().give(&request, life);
        }
        let odd = self.switches().odd.filter(|odd| request.path.contains(odd.path));
        let mut reply = self.route(&request, stale, None).unwrap_or_else(Reply::from);
        if reply.status == 404 && self.switches().absent_page {
            reply.headers = vec![("content-type".into(), "text/html".into())];
            reply.body = format!("<html><h1>Not found</h1>{}</html>", request.path).into();
        }
        match (odd, serde_json::from_slice(&reply.body)) {
            (Some(odd), Ok(mut body)) if reply.status < 300 => {
                odd.apply(&mut body);
                Reply { body: body.to_string().into(), ..reply }
            }
            _ => reply,
        }
    }
}
