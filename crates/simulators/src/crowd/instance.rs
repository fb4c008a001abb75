//! The server: its state, its settings, and the context of a request.

use parking_lot::RwLock;
use serde_json::Value;

use super::CrowdOptions;
use super::errors::Refused;
use super::state::{Directory, GroupData, World};
use super::switches::{Permission, Switches};
use crate::front::Request;
use crate::versions::Versions;

/// Page size if the request names none.
const PAGE: i64 = 1000;

/// State of the server.
#[derive(Debug)]
pub(crate) struct Crowd {
    pub(crate) version_text: String,
    pub(crate) version: Vec<u32>,
    pub(crate) jira: Option<String>,
    pub(crate) server_id: String,
    pub(crate) base_path: String,
    pub(crate) application: (String, String),
    pub(crate) versions: Versions<World>,
    pub(crate) switches: RwLock<Switches>,
}

/// A request that is being handled.
pub(crate) struct Call<'a> {
    pub(crate) request: &'a Request,
    pub(crate) crowd: &'a Crowd,
    /// The API's URL as the caller wrote it.
    pub(crate) api: String,
}

impl Call<'_> {
    /// Returns a query parameter that must be present.
    pub(crate) fn required(&self, name: &str) -> Result<String, Refused> {
        let value = self.request.param(name).filter(|value| !value.is_empty());
        value.ok_or_else(|| Refused::argument(format!("The parameter {name} is missing.")))
    }

    /// Returns whether entries of this kind are expanded.
    pub(crate) fn expands(&self, what: &str) -> bool {
        let asked = self.request.params("expand").join(",");
        self.crowd.switches().expands && asked.split(',').any(|one| one.trim() == what)
    }

    /// Returns the requested page; -1 requests all entries.
    pub(crate) fn page<'l, T>(&self, list: &'l [T]) -> Result<&'l [T], Refused> {
        let number = |name: &str, fallback: i64| match self.request.param(name) {
            Some(text) => text.parse().map_err(|_| Refused::argument(format!("{name} is not a number."))),
            None => Ok(fallback),
        };
        let start = usize::try_from(number("start-index", 0)?).unwrap_or(0).min(list.len());
        let most = usize::try_from(number("max-results", PAGE)?).unwrap_or(usize::MAX);
        let most = most.min(self.crowd.switches().page_cap).min(list.len() - start);
        Ok(&list[start..start + most])
    }

    /// Checks that the application has this permission.
    pub(crate) fn demand(&self, permission: Permission) -> Result<(), Refused> {
        if self.crowd.switches().lacking.contains(&permission) {
            let text = format!("Not allowed: {permission:?} in any directory of the application.");
            return Err(Refused::new(403, "APPLICATION_PERMISSION_DENIED", text));
        }
        Ok(())
    }
}

/// Returns the name in a field of the body.
pub(crate) fn named(call: &Call<'_>, field: &str) -> Result<String, Refused> {
    let sent: Value = serde_json::from_slice(&call.request.body).unwrap_or_default();
    let name = sent[field].as_str().map(str::trim).filter(|name| !name.is_empty());
    name.map(str::to_owned).ok_or_else(|| Refused::argument(format!("The body gives no {field}.")))
}

impl Crowd {
    pub(crate) fn new(options: &CrowdOptions) -> Self {
        let version: Vec<u32> = options.version.split('.').map(|part| part.parse().unwrap_or(0)).collect();
        let mut world = World::default();
        let name = if options.jira.is_some() { "Jira Internal Directory" } else { "Crowd Internal Directory" };
        world.directories.push(Directory { name: name.into(), read_only: false, keeps_status: true });
        let group = if options.jira.is_some() { "jira-administrators" } else { "crowd-administrators" };
        world.identities.add_group(group, GroupData::default());
        Self {
            version_text: options.version.clone(),
            jira: options.jira.clone(),
            server_id: uuid::Uuid::new_v4().to_string(),
            base_path: options.base_path.trim_end_matches('/').to_owned(),
            application: options.application.clone(),
            versions: Versions::new(world, options.history),
            switches: RwLock::new(Switches::of(&version)),
            version,
        }
    }

    pub(crate) fn switches(&self) -> Switches {
        self.switches.read().clone()
    }

    /// Returns whether its version is older than this one.
    pub(crate) fn before(&self, version: &[u32]) -> bool {
        self.version.as_slice() < version
    }
}
