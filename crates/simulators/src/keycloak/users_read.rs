//! Reads of users.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::errors::Refused;
use super::federation::Look;
use super::page::{Page, ok};
use super::render::{self, Depth};
use super::rights::{Rights, demand};
use super::roles_read;
use super::state::{Id, Realm, User};
use crate::front::{Reply, Request};

/// Answers a GET below `/users`.
///
/// `imported`: the users that the request has imported.
pub(crate) fn answer(
    realm: &Realm,
    rights: &Rights,
    request: &Request,
    rest: &[&str],
    imported: &[Id],
) -> Result<Reply, Refused> {
    match rest {
        [] => list(realm, rights, request, imported),
        ["count"] => {
            demand(rights.query_users())?;
            let stored = |id: &&Id| realm.users.get(*id).is_some_and(|user| !user.is_outside());
            Ok(ok(&match Filter::of(request)? {
                None => realm.people.len(),
                Some(filter) => filter.pick(realm)?.iter().filter(stored).count(),
            }))
        }
        ["profile"] => {
            demand(rights.query_users() || rights.view_realm())?;
            Ok(ok(&profile(realm)))
        }
        [id, rest @ ..] => {
            let user = one(realm, rights, id)?;
            of_user(realm, rights, request, user, rest)
        }
    }
}

/// Returns a user by id. A caller that may search learns that a user is missing; any other is only refused.
fn one<'a>(realm: &'a Realm, rights: &Rights, id: &str) -> Result<&'a User, Refused> {
    demand(rights.query_users())?;
    let user = realm.look_by_id(id).user()?;
    demand(rights.view_users())?;
    Ok(user)
}

/// Size of the pieces in which Keycloak sends a long answer, in bytes.
const PIECE: usize = 8191;

fn list(realm: &Realm, rights: &Rights, request: &Request, imported: &[Id]) -> Result<Reply, Refused> {
    demand(rights.query_users())?;
    let selection = Selection::of(realm, request, imported)?;
    // With too few rights the realm looks empty.
    if !rights.view_users() {
        return Ok(ok(&json!([])));
    }
    let depth = if request.flag("briefRepresentation") { Depth::Brief } else { Depth::Full };
    let access = json!({ "manage": rights.manage_users() });
    let mut ids = selection.ids;
    if !realm.federations_are_plain() {
        // A page is read first; who is missing in LDAP is left out of it then.
        ids.retain(|id| realm.users.get(id).is_some_and(|user| !realm.is_left_out(user)));
    }
    ids.extend_from_slice(imported);
    let reply = ok(&render::users(realm, &ids, depth, Some(&access)));
    if selection.asks_federations && realm.listing_fails() { cut_off(&reply) } else { Ok(reply) }
}

/// Returns the answer to a listing that fails in its middle: what was sent before, and an error.
fn cut_off(whole: &Reply) -> Result<Reply, Refused> {
    let refused = Refused::unparsable();
    // The end of the list is not written.
    let sent = whole.body.len().saturating_sub(1) / PIECE * PIECE;
    if sent == 0 {
        return Err(refused);
    }
    let mut body = whole.body[..sent].to_vec();
    body.extend(refused.body.to_string().into_bytes());
    let mut reply = whole.clone().with("connection", "close");
    reply.body = body.into();
    Ok(reply)
}

/// The users of a page, before it is clear whether they can be shown.
#[derive(Debug)]
pub(crate) struct Selection {
    /// Ids, in listing order.
    pub(crate) ids: Vec<Id>,
    /// Whether the stored users do not fill the page, so that Keycloak asks the federations for more.
    pub(crate) asks_federations: bool,
    /// How many more users the page could hold.
    pub(crate) room: usize,
}

impl Selection {
    /// Selects the page that a listing requests, from the users without `imported`.
    pub(crate) fn of(realm: &Realm, request: &Request, imported: &[Id]) -> Result<Self, Refused> {
        let page = Page::of(request, 100)?;
        let filter = Filter::of(request)?;
        let picked;
        let mut all = match &filter {
            None if realm.outside.len() == 0 => realm.people.ids(),
            None => {
                picked = realm.listed();
                &picked
            }
            Some(filter) => {
                picked = filter.pick(realm)?;
                &picked
            }
        };
        let others: Vec<Id>;
        if !imported.is_empty() {
            others = all.iter().filter(|id| !imported.contains(id)).cloned().collect();
            all = &others;
        }
        let ids = page.cut(all).to_vec();
        let outside = |id: &&Id| realm.users.get(*id).is_some_and(|user| user.is_outside());
        let stored = ids.iter().take_while(|id| !outside(id)).count();
        let asks = filter.as_ref().is_none_or(Filter::asks_federations);
        Ok(Self { asks_federations: asks && stored < page.max, room: page.max - ids.len(), ids })
    }
}

/// Returns whether a listing's filters select a user.
pub(crate) fn matches(realm: &Realm, request: &Request, user: &User) -> bool {
    match Filter::of(request) {
        Ok(Some(filter)) => filter.passes(realm, user),
        Ok(None) => true,
        Err(_) => false,
    }
}

fn of_user(realm: &Realm, rights: &Rights, request: &Request, user: &User, rest: &[&str]) -> Result<Reply, Refused> {
    match rest {
        [] => {
            let access = render::user_access(rights.manage_users());
            Ok(ok(&render::user(realm, user, Depth::Full, Some(&access))))
        }
        ["groups"] => {
            let page = Page::of(request, usize::MAX)?;
            let search = request.param("search").unwrap_or_default().to_lowercase();
            let brief = request.param("briefRepresentation").is_none_or(|value| value == "true");
            let depth = render::GroupDepth { brief, count: false, access: None };
            let groups = realm.groups_shown(user)?;
            let mut found: Vec<_> = groups
                .into_iter()
                .flatten()
                .filter_map(|id| realm.groups.get(id))
                .filter(|group| group.name.to_lowercase().contains(&search))
                .collect();
            found.sort_by(|a, b| a.name.cmp(&b.name));
            let found: Vec<Value> =
                page.cut(&found).iter().map(|group| render::group(realm, group, depth, Vec::new())).collect();
            Ok(ok(&found))
        }
        ["groups", "count"] => Ok(ok(&json!({ "count": realm.groups_uncached(user)?.map_or(0, BTreeSet::len) }))),
        ["role-mappings", rest @ ..] => roles_read::user_mappings(realm, user, rest),
        ["federated-identity" | "credentials" | "sessions" | "consents"] => Ok(ok(&json!([]))),
        _ => Err(Refused::no_path()),
    }
}

/// Filters of a listing.
#[derive(Debug, Default)]
struct Filter {
    search: Option<String>,
    exact: bool,
    username: Option<String>,
    email: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    enabled: Option<bool>,
    email_verified: Option<bool>,
    /// Milliseconds, both inclusive.
    created_after: Option<i64>,
    created_before: Option<i64>,
    attributes: Vec<(String, String)>,
}

/// Reads a time as Keycloak does: milliseconds, or a day.
fn moment(request: &Request, name: &str) -> Result<Option<i64>, Refused> {
    let Some(text) = request.param(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    let day = || text.parse::<jiff::civil::Date>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
    let millis = text.parse().ok().or_else(|| day().map(|day| day.timestamp().as_millisecond()));
    millis.map(Some).ok_or_else(|| Refused::error(400, "Invalid date"))
}

/// Returns a search text without regard to case, except for ids.
fn as_searched(text: &str) -> String {
    let text = text.trim();
    if text.starts_with("id:") { text.to_owned() } else { text.to_lowercase() }
}

impl Filter {
    /// Reads the filters; `None`: there are none. Only then a separate list leaves out service accounts.
    fn of(request: &Request) -> Result<Option<Self>, Refused> {
        let text = |name: &str| request.param(name).filter(|value| !value.is_empty()).map(|value| value.to_lowercase());
        let flag = |name: &str| request.param(name).and_then(|value| value.parse().ok());
        let attributes = request.param("q").unwrap_or_default();
        let attributes = attributes.split_whitespace().filter_map(|pair| pair.split_once(':'));
        let filter = Self {
            search: request.param("search").map(|search| as_searched(&search)).filter(|search| !search.is_empty()),
            exact: request.flag("exact"),
            username: text("username"),
            email: text("email"),
            first_name: text("firstName"),
            last_name: text("lastName"),
            enabled: flag("enabled"),
            email_verified: flag("emailVerified"),
            created_after: moment(request, "createdAfter")?,
            created_before: moment(request, "createdBefore")?,
            attributes: attributes.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        };
        let fields = [&filter.search, &filter.username, &filter.email, &filter.first_name, &filter.last_name];
        let narrows = fields.iter().any(|field| field.is_some())
            || filter.enabled.is_some()
            || filter.email_verified.is_some()
            || filter.created_after.is_some()
            || filter.created_before.is_some()
            || !filter.attributes.is_empty();
        Ok(narrows.then_some(filter))
    }

    /// Returns the users that match, sorted by name.
    fn pick(&self, realm: &Realm) -> Result<Vec<Id>, Refused> {
        // A search for an exact login is frequent and must not scan all users.
        if let (Some(username), true, None) = (&self.username, self.exact, &self.search) {
            let found = realm.names.get(username).and_then(|id| realm.users.get(id));
            return Ok(found
                .filter(|user| self.passes(realm, user))
                .map(|user| Arc::clone(&user.id))
                .into_iter()
                .collect());
        }
        if let Some(ids) = self.search.as_deref().and_then(|search| search.strip_prefix("id:")) {
            let mut found = Vec::new();
            for id in ids.split_whitespace() {
                match realm.look_by_id(id) {
                    // Who is missing in LDAP is read too, and left out later.
                    Look::Full(user) | Look::Dark(user, _) => found.push(Arc::clone(&user.id)),
                    Look::Gone => found.extend(realm.users.get(id).map(|user| Arc::clone(&user.id))),
                    // A user of a federation that cannot be asked fails the request.
                    Look::Failed => return Err(Refused::unparsable()),
                }
            }
            return Ok(found);
        }
        let pass = |id: &&Id| realm.users.get(*id).is_some_and(|user| self.passes(realm, user));
        let by_name = |a: &Id, b: &Id| name_of(realm, a).cmp(name_of(realm, b));
        if self.search.is_none() && self.is_by_time() {
            // A window must not scan all users either: a large realm is read window by window.
            let from = (self.created_after.unwrap_or(i64::MIN), Id::from(""));
            let until = self.created_before.unwrap_or(i64::MAX);
            let window = realm.by_creation.range(from..).take_while(|(at, _)| *at <= until);
            let mut found: Vec<Id> = window.map(|(_, id)| id).filter(pass).cloned().collect();
            found.sort_by(by_name);
            return Ok(found);
        }
        let mut found: Vec<Id> = realm.people.ids().iter().filter(pass).cloned().collect();
        // A free-text search leaves out service accounts; any other filter does not.
        if self.search.is_none() {
            found.extend(realm.services.ids().iter().filter(pass).cloned());
            found.sort_by(by_name);
        }
        found.extend(realm.outside.ids().iter().filter(pass).cloned());
        Ok(found)
    }

    /// Returns whether a listing with these filters asks federations for users that are not stored.
    fn asks_federations(&self) -> bool {
        let by_id = self.search.as_deref().is_some_and(|search| search.starts_with("id:"));
        self.enabled != Some(false) && !self.is_by_time() && !by_id
    }

    fn is_by_time(&self) -> bool {
        self.created_after.is_some() || self.created_before.is_some()
    }

    fn passes(&self, realm: &Realm, user: &User) -> bool {
        let field = |wanted: &Option<String>, value: Option<&str>| {
            wanted.as_ref().is_none_or(|wanted| {
                let value = value.unwrap_or_default().to_lowercase();
                if self.exact { value == *wanted } else { value.contains(wanted.as_str()) }
            })
        };
        // What is stored counts: of a user that is not imported nothing is stored, and none is found as disabled.
        let enabled = user.enabled || user.is_outside();
        let created = |at: i64| {
            self.created_after.is_none_or(|after| at >= after) && self.created_before.is_none_or(|before| at <= before)
        };
        let listed = !user.is_outside() || !(self.is_by_time() || realm.is_left_out(user));
        listed
            && created(user.created)
            && self.found_by_search(user)
            && field(&self.username, Some(&user.username))
            && field(&self.email, user.email.as_deref())
            && field(&self.first_name, user.first_name.as_deref())
            && field(&self.last_name, user.last_name.as_deref())
            && self.enabled.is_none_or(|wanted| wanted == enabled)
            && self.email_verified.is_none_or(|wanted| wanted == user.email_verified)
            && self
                .attributes
                .iter()
                .all(|(key, value)| user.attributes.get(key).is_some_and(|values| values.contains(value)))
    }

    /// Matches a free-text search: every word must be a prefix of one of the four fields; `*word*` matches anywhere in
    /// it, `"word"` the whole field.
    fn found_by_search(&self, user: &User) -> bool {
        let Some(search) = &self.search else {
            return true;
        };
        let fields = [
            Some(user.username.as_str()),
            user.email.as_deref(),
            user.first_name.as_deref(),
            user.last_name.as_deref(),
        ];
        let fields: Vec<String> = fields.into_iter().flatten().map(str::to_lowercase).collect();
        search.split_whitespace().all(|word| {
            fields.iter().any(|field| {
                if let Some(whole) = word.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
                    field == whole
                } else if let Some(part) = word.strip_prefix('*') {
                    field.contains(part.trim_end_matches('*'))
                } else if self.exact {
                    field == word
                } else {
                    field.starts_with(word.trim_end_matches('*'))
                }
            })
        })
    }
}

fn name_of<'a>(realm: &'a Realm, id: &Id) -> &'a str {
    realm.users.get(id).map_or("", |user| &user.username)
}

fn profile(realm: &Realm) -> Value {
    let plain = |name: &str| {
        json!({
            "name": name, "displayName": format!("${{{name}}}"), "multivalued": false, "validations": {},
            "permissions": { "view": ["admin", "user"], "edit": ["admin", "user"] },
        })
    };
    let attributes = ["username", "email", "firstName", "lastName"].map(plain);
    let mut shown = json!({ "attributes": attributes, "groups": [] });
    if realm.settings.unmanaged_attributes {
        shown["unmanagedAttributePolicy"] = json!("ENABLED");
    }
    shown
}
