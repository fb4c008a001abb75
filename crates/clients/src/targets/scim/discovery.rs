//! Discovery: what a server declares (RFC 7644, section 4), and what its profile adds.

use std::sync::Arc;

use jiff::Timestamp;
use reqwest::StatusCode;
use serde_json::{Value, json};
use url::Url;

use super::{
    ScimTarget,
    attributes::Declared,
    profile::Profile,
    wire::{GROUP, List, Resource, USER, field, truth},
};
use crate::{
    model::ErrorClass,
    targets::{
        TargetError,
        rest::{Ask, not_done, segment, unsupported},
    },
};

/// Page size if the server does not declare its maximum.
const PAGE: usize = 100;
/// Maximum page size requested.
const LARGEST_PAGE: usize = 500;

/// Limits of one bulk call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bulk {
    /// Maximum number of operations.
    pub most: usize,
    /// Maximum size of the whole body, in bytes; `None`: unlimited.
    pub bytes: Option<usize>,
}

/// Capabilities of a server and how usersync uses them.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "a table of yes and no")]
pub(super) struct Service {
    pub profile: Arc<Profile>,
    /// The path of users.
    pub users: String,
    /// The path of groups; `None`: the server has none.
    pub groups: Option<String>,
    pub patch: bool,
    pub filter: bool,
    pub etag: bool,
    /// Limits of bulk calls; `None`: bulk is unsupported.
    pub bulk: Option<Bulk>,
    /// Lists are read by cursor (RFC 9865), not by position.
    pub cursor: bool,
    pub page: usize,
    /// `groups` of users must be requested explicitly.
    pub ask_groups: bool,
    /// `members` of groups must be requested explicitly.
    pub ask_members: bool,
    pub rename: bool,
    /// Groups can be renamed: the name is not read-only.
    pub rename_group: bool,
    pub deactivate: bool,
    pub email_required: bool,
    /// Declarations of the further attributes, in the order of [`ScimTarget::attributes`].
    pub declared: Vec<Declared>,
    /// The profile for the address that the server declares as its own; `None`: no known server's.
    pub proposed: Option<&'static str>,
    /// Discovery documents that the server did not return.
    pub missing_documents: Vec<&'static str>,
}

impl ScimTarget {
    /// Returns the capabilities of the server; discovers them once.
    pub(super) async fn service(&self, deadline: Option<Timestamp>) -> Result<Arc<Service>, TargetError> {
        let mut known = self.service.lock().await;
        if let Some(service) = known.as_ref() {
            return Ok(Arc::clone(service));
        }
        let service = Arc::new(self.discover(deadline).await?);
        *known = Some(Arc::clone(&service));
        Ok(service)
    }

    /// Discovers the capabilities again.
    pub(super) async fn fresh_service(&self) -> Result<Arc<Service>, TargetError> {
        *self.service.lock().await = None;
        self.service(None).await
    }

    /// Returns the path of groups, if the server has any.
    pub(super) async fn groups_path(&self, what: &str, deadline: Option<Timestamp>) -> Result<String, TargetError> {
        self.service(deadline).await?.groups.clone().ok_or_else(|| {
            unsupported(format!("{what}: this SCIM server has no groups. Exclude the group in the policy."))
        })
    }

    async fn discover(&self, deadline: Option<Timestamp>) -> Result<Service, TargetError> {
        let profile = Arc::clone(&self.profile);
        let mut missing_documents = Vec::new();
        // Discovery documents are optional; accounts are not. Refused credentials are detected here.
        let users = Ask::get("/Users", "connecting").query("startIndex", "1").query("count", "1").deadline(deadline);
        self.rest.ask(&users).await?;
        let config =
            self.reported("/ServiceProviderConfig", &mut missing_documents, deadline).await?.unwrap_or_default();
        let types = self.reported("/ResourceTypes", &mut missing_documents, deadline).await?.and_then(List::read);
        let schemas = self.reported("/Schemas", &mut missing_documents, deadline).await?.and_then(List::read);

        let endpoint = |schema: &str| {
            let kinds = &types.as_ref()?.items;
            let kind =
                kinds.iter().find(|kind| kind.text("schema").is_some_and(|one| one.eq_ignore_ascii_case(schema)))?;
            kind.text("endpoint").filter(|path| !path.contains(':')).map(|path| format!("/{}", path.trim_matches('/')))
        };
        // A list of types without users is not trusted.
        let has_types = types.is_some() && endpoint(USER).is_some();
        let usual = || (!has_types && profile.groups).then(|| "/Groups".to_owned());
        let groups = endpoint(GROUP).or_else(usual);
        let users = self.answering(endpoint(USER).unwrap_or_default(), "/Users", deadline).await?;
        let groups = match groups {
            Some(groups) => Some(self.answering(groups, "/Groups", deadline).await?),
            None => None,
        };
        let attribute = |schema: &str, name: &str| {
            let schemas = &schemas.as_ref()?.items;
            let schema = schemas.iter().find(|one| one.id().is_some_and(|id| id.eq_ignore_ascii_case(schema)))?;
            let all = schema.list("attributes")?;
            all.into_iter().find(|one| says(one, "name", name))
        };
        let is = |schema: &str, name: &str, key: &str, value: &str| {
            attribute(schema, name).is_some_and(|attribute| says(&attribute, key, value))
        };
        let fixed = |schema: &str, name: &str| {
            is(schema, name, "mutability", "readOnly") || is(schema, name, "mutability", "immutable")
        };
        let read_only = |name: &str| fixed(USER, name);
        let supported = |name: &str| config.inner_truth(name, "supported");
        let most = |name: &str, sub: &str| {
            let reported = config.inner(name, sub).and_then(|most| most.parse::<usize>().ok());
            reported.filter(|most| *most > 0)
        };
        let documents = types.iter().chain(&schemas).flat_map(|list| &list.items).chain([&config]);
        let addresses = documents.filter_map(|one| one.inner("meta", "location")?.parse::<Url>().ok());
        let proposed = addresses.filter_map(|mut address| {
            // The part of the path after the base names the document.
            let path = address.path();
            let end = ["/ServiceProviderConfig", "/ResourceTypes", "/Schemas"].iter().find_map(|end| path.find(end))?;
            let base = path[..end].to_owned();
            address.set_path(&base);
            Profile::reported_by(&address)
        });
        let proposed = proposed.map(|profile| profile.name).next();
        let cursor = config.inner_truth("pagination", "cursor") == Some(true);
        let page = most("pagination", "maxPageSize").or_else(|| most("filter", "maxResults")).unwrap_or(PAGE);
        Ok(Service {
            users,
            groups,
            // A server that declares nothing is assumed to support PATCH.
            patch: profile.patch.or_else(|| supported("patch")).unwrap_or(true),
            filter: supported("filter").unwrap_or(true),
            etag: supported("etag").unwrap_or(false),
            bulk: (supported("bulk") == Some(true))
                .then(|| most("bulk", "maxOperations"))
                .flatten()
                .map(|operations| Bulk { most: operations, bytes: most("bulk", "maxPayloadSize") }),
            cursor,
            page: page.min(LARGEST_PAGE),
            ask_groups: profile.on_request || is(USER, "groups", "returned", "request"),
            ask_members: profile.on_request || is(GROUP, "members", "returned", "request"),
            rename: profile.rename && !read_only("userName"),
            rename_group: profile.rename_group && !fixed(GROUP, "displayName"),
            deactivate: !read_only("active"),
            email_required: profile.email_required
                || attribute(USER, "emails").and_then(|one| field(&one, "required").and_then(truth)) == Some(true),
            declared: {
                let schemas = schemas.as_ref().map(|schemas| schemas.items.as_slice());
                self.attributes.iter().map(|path| Declared::of(path, schemas)).collect()
            },
            proposed,
            missing_documents,
            profile,
        })
    }

    /// Returns the path that the server declares, or the usual one if the declared path returns 404. Otherwise all
    /// users there would look deleted.
    async fn answering(&self, given: String, usual: &str, deadline: Option<Timestamp>) -> Result<String, TargetError> {
        if given.is_empty() || given == usual {
            return Ok(usual.to_owned());
        }
        let ask = Ask::get(given.as_str(), "connecting").query("count", "1").deadline(deadline);
        let absent = self.rest.ask(&ask).await?.status == StatusCode::NOT_FOUND;
        Ok(if absent { usual.to_owned() } else { given })
    }

    /// Reads a discovery document; `None`: the server has none or refuses access.
    async fn reported(
        &self,
        path: &'static str,
        missing_documents: &mut Vec<&'static str>,
        deadline: Option<Timestamp>,
    ) -> Result<Option<Resource>, TargetError> {
        let ask = Ask::get(path, "connecting").deadline(deadline).tolerant();
        let answer = self.rest.ask(&ask).await?;
        let read = if answer.status.is_success() { serde_json::from_slice::<Value>(&answer.body).ok() } else { None };
        match read {
            Some(Value::Object(fields)) => return Ok(Some(Resource(fields))),
            // Some servers return the bare list.
            Some(Value::Array(items)) if items.iter().all(Value::is_object) => {
                let list = json!({ "totalResults": items.len(), "Resources": items });
                return Ok(serde_json::from_value(list).ok());
            }
            _ => missing_documents.push(path),
        }
        Ok(None)
    }
}

/// Returns the path of one resource. An id that would lead to another path is refused.
pub(super) fn path_of(kind: &str, id: &str, what: &str) -> Result<String, TargetError> {
    if matches!(id, "" | "." | "..") {
        return Err(not_done(ErrorClass::Bug, format!("{what}: \"{id}\" is not a valid id.")));
    }
    Ok(format!("{kind}/{}", segment(id)))
}

/// Whether an attribute of a schema has this value for this key.
fn says(attribute: &Value, key: &str, word: &str) -> bool {
    field(attribute, key).and_then(Value::as_str).is_some_and(|found| found.eq_ignore_ascii_case(word))
}
