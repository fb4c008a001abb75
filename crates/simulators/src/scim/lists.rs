//! Lists: filters, pages, cursors.

use std::sync::Arc;

use serde_json::{Value, json};

use super::errors::Refused;
use super::instance::Call;
use super::state::{Item, Shelf, World};
use super::switches::{Counted, Filters};
use crate::front::Reply;
use crate::identities::fold;

const LIST: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";

/// A filter of the only supported form: `attribute eq "value"`.
struct Equals {
    attribute: String,
    value: String,
}

impl Equals {
    fn read(text: &str) -> Option<Self> {
        let (attribute, rest) = text.trim().split_once(' ')?;
        let (operator, value) = rest.trim_start().split_once(' ')?;
        let value = serde_json::from_str(value.trim()).ok()?;
        operator.eq_ignore_ascii_case("eq").then(|| Self { attribute: attribute.to_lowercase(), value })
    }
}

/// Returns the value of the filter in a path such as `members[value eq "x"]`.
pub(crate) fn inner_filter(path: &str) -> Option<String> {
    let inside = path.strip_prefix("members[")?.strip_suffix(']')?;
    Equals::read(inside).filter(|equals| equals.attribute == "value").map(|equals| equals.value)
}

/// Returns the items that match a request's filter.
fn filtered<'w>(world: &'w World, call: &Call<'_>, shelf: &'w Shelf) -> Result<Vec<&'w Arc<Item>>, Refused> {
    let Some(text) = call.request.param("filter") else { return Ok(shelf.all().collect()) };
    let equals = Equals::read(&text).ok_or_else(|| Refused::filter(&text))?;
    let by_member = equals.attribute.starts_with("members");
    let how = if by_member { call.switches.member_filters } else { call.switches.filters };
    match how {
        Filters::On => {}
        Filters::Off => return Err(Refused::filter(&text)),
        Filters::Ignored => return Ok(shelf.all().collect()),
        Filters::Empty => return Ok(Vec::new()),
        Filters::Broken => return Err(Refused::otherwise(400, "Bad request")),
    }
    let same = |found: &str| {
        if call.switches.filter_case { found == equals.value } else { fold(found) == fold(&equals.value) }
    };
    let fits = |item: &Item| match equals.attribute.as_str() {
        "id" => item.id == equals.value,
        "username" => same(item.text("userName")),
        "displayname" => same(item.text("displayName")),
        "externalid" => call.switches.filter_external_id && item.text("externalId") == equals.value,
        "emails.value" | "emails" => item.emails().any(same),
        "members.value" | "members" => item.members.contains(&equals.value),
        "groups.value" | "groups" => {
            world.groups.get(&equals.value).is_some_and(|group| group.members.contains(&item.id))
        }
        _ => false,
    };
    let known = ["id", "username", "displayname", "externalid", "emails", "members", "groups"];
    if !known.contains(&equals.attribute.split('.').next().unwrap_or_default()) {
        return Err(Refused::filter(&text));
    }
    Ok(shelf.all().filter(|item| fits(item)).collect())
}

/// Returns a page of a shelf.
pub(crate) fn page(
    world: &World,
    call: &Call<'_>,
    shelf: &Shelf,
    show: impl Fn(&Item) -> Value,
) -> Result<Reply, Refused> {
    let switches = call.switches;
    let found = filtered(world, call, shelf)?;
    let number = |name: &str| -> Result<Option<usize>, Refused> {
        let Some(text) = call.request.param(name) else { return Ok(None) };
        let number: i64 = text.parse().map_err(|_| Refused::value(format!("{name} is not a number")))?;
        Ok(Some(usize::try_from(number).unwrap_or(0)))
    };
    let count = number("count")?.unwrap_or(switches.page_cap).min(switches.page_cap);
    let mut body = json!({ "schemas": [LIST], "totalResults": found.len() });
    let cursor = call.request.param("cursor").filter(|_| switches.cursor);
    let shown: Vec<&&Arc<Item>> = if let Some(cursor) = &cursor {
        let after: u64 = match cursor.strip_prefix("after-") {
            Some(after) => after.parse().map_err(|_| lost())?,
            None if cursor.is_empty() => 0,
            None => return Err(lost()),
        };
        let mut rest = found.iter().filter(|item| item.number > after);
        let shown: Vec<_> = rest.by_ref().take(count).collect();
        if let Some(last) = shown.last().filter(|_| rest.next().is_some()) {
            body["nextCursor"] = json!(format!("after-{}", last.number));
        }
        shown
    } else {
        let start = number("startIndex")?.unwrap_or(1).max(1);
        if switches.one_page && start > 1 {
            return Err(Refused::value("startIndex must be 1"));
        }
        body["startIndex"] = json!(start);
        found.iter().skip(start - 1).take(count).collect()
    };
    let mut resources: Vec<Value> = shown.into_iter().map(|item| show(item)).collect();
    match switches.counted {
        Counted::All => {}
        Counted::Page => body["totalResults"] = json!(resources.len()),
        Counted::AllButShownNone => resources.clear(),
    }
    body["itemsPerPage"] = json!(resources.len());
    body["Resources"] = json!(resources);
    Ok(Reply::scim(200, &body))
}

fn lost() -> Refused {
    Refused::new(400, Some("invalidCursor"), "The cursor is not one of ours.")
}
