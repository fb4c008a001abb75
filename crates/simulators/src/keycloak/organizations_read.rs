//! Reads of organizations and their members.

use serde_json::{Map, Value, json};

use super::errors::Refused;
use super::page::{Page, ok};
use super::render::{self, Depth};
use super::rights::{Rights, demand};
use super::state::{Id, Organization, Realm};
use crate::front::{Reply, Request};

/// Entries of a page if the request does not say how many.
const PAGE: usize = 10;

pub(crate) fn no_organization() -> Refused {
    Refused::message(404, "Organization not found.")
}

/// Returns the answer for a realm that has organizations turned off.
pub(crate) fn demand_organizations(realm: &Realm) -> Result<(), Refused> {
    if realm.has_organizations() {
        return Ok(());
    }
    Err(Refused::message(404, "Organizations not enabled for this realm."))
}

/// Returns an organization; in brief without attributes.
pub(crate) fn shown(organization: &Organization, brief: bool) -> Value {
    let mut shown = Map::new();
    shown.insert("id".into(), json!(*organization.id));
    shown.insert("name".into(), json!(organization.name));
    shown.insert("alias".into(), json!(organization.alias));
    shown.insert("enabled".into(), json!(organization.enabled));
    if !brief {
        shown.insert("attributes".into(), json!({}));
    }
    if !organization.domains.is_empty() {
        shown.insert("domains".into(), json!(organization.domains));
    }
    Value::Object(shown)
}

/// Answers a GET below `/organizations`.
pub(crate) fn answer(realm: &Realm, rights: &Rights, request: &Request, rest: &[&str]) -> Result<Reply, Refused> {
    demand(rights.query_organizations())?;
    demand_organizations(realm)?;
    let brief = request.param("briefRepresentation").is_none_or(|value| value == "true");
    match rest {
        [] | ["count"] => {
            // With too few rights the realm looks as if it had none.
            let found = if rights.view_organizations() { found(realm, request) } else { Vec::new() };
            if rest == ["count"] {
                return Ok(ok(&found.len()));
            }
            let page = Page::of(request, PAGE)?;
            Ok(ok(&page.cut(&found).iter().map(|one| shown(one, brief)).collect::<Vec<_>>()))
        }
        ["members", user, "organizations"] => of_user(realm, rights, user, brief),
        [id, rest @ ..] => {
            let organization = realm.organizations.get(*id).ok_or_else(no_organization)?;
            demand(rights.view_organizations())?;
            match rest {
                [] => Ok(ok(&shown(organization, false))),
                ["members", rest @ ..] => members(realm, rights, request, organization, rest),
                _ => Err(Refused::no_path()),
            }
        }
    }
}

/// Returns the organizations that a listing finds, ordered by name.
fn found<'a>(realm: &'a Realm, request: &Request) -> Vec<&'a Organization> {
    let search = request.param("search").filter(|search| !search.is_empty());
    let fits = |organization: &&Organization| {
        let domains = organization.domains.iter().filter_map(|domain| domain.get("name")?.as_str());
        let mut texts = domains.chain([organization.name.as_str()]);
        search.as_ref().is_none_or(|search| {
            if request.flag("exact") {
                texts.any(|text| text == search)
            } else {
                texts.any(|text| text.to_lowercase().contains(&search.to_lowercase()))
            }
        })
    };
    let mut found: Vec<&Organization> = realm.organizations.values().filter(fits).collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn of_user(realm: &Realm, rights: &Rights, user: &str, brief: bool) -> Result<Reply, Refused> {
    demand(rights.view_users())?;
    let user = realm.users.get(user).ok_or_else(Refused::no_path)?;
    // With too few rights the user looks like a member of none.
    let own = realm.organizations_of(&user.id).filter(|_| rights.view_organizations());
    Ok(ok(&own.map(|one| shown(one, brief)).collect::<Vec<_>>()))
}

fn members(
    realm: &Realm,
    rights: &Rights,
    request: &Request,
    organization: &Organization,
    rest: &[&str],
) -> Result<Reply, Refused> {
    demand(rights.view_users())?;
    let member = |id: &Id, depth: Depth| -> Option<Value> {
        let mut shown = serde_json::to_value(render::user(realm, realm.users.get(id)?, depth, None)).ok()?;
        let managed = organization.members.get(id).is_some_and(|managed| *managed);
        shown["membershipType"] = json!(if managed { "MANAGED" } else { "UNMANAGED" });
        Some(shown)
    };
    match rest {
        [] => {
            let page = Page::of(request, PAGE)?;
            let full = request.param("briefRepresentation").is_some_and(|value| value == "false");
            let depth = if full { Depth::Full } else { Depth::Brief };
            let mut ids: Vec<&Id> = organization.members.keys().collect();
            ids.sort_by_key(|id| realm.users.get(*id).map(|user| &user.username));
            Ok(ok(&page.cut(&ids).iter().filter_map(|id| member(id, depth)).collect::<Vec<_>>()))
        }
        ["count"] => Ok(ok(&organization.members.len())),
        [id, rest @ ..] => {
            let (id, _) = organization.members.get_key_value(*id).ok_or_else(Refused::no_path)?;
            match rest {
                [] => Ok(ok(&member(id, Depth::Full))),
                ["organizations"] => of_user(realm, rights, id, true),
                _ => Err(Refused::no_path()),
            }
        }
    }
}
