//! Accounts, groups and pages as answers show them.

use serde_json::{Value, json};

use super::errors::Refused;
use super::instance::Call;
use super::state::{Account, Group};
use crate::front::{Reply, form_encoded};

/// An account; with its status if the request expands it and the server supports that.
pub(crate) fn user(call: &Call<'_>, account: &Account) -> Value {
    let mut shown = json!({
        "type": "known", "username": account.name, "userKey": *account.id, "displayName": account.full_name,
        "profilePicture": { "path": "/images/icons/profilepics/default.svg", "width": 48, "height": 48, "isDefault": true },
        "_links": { "self": format!("{}/rest/api/user?key={}", call.site, account.id) },
        "_expandable": { "status": "" },
    });
    let asked = call.request.params("expand").iter().any(|all| all.split(',').any(|one| one.trim() == "status"));
    if asked && call.switches.returns_status {
        shown["status"] = json!(if account.active { "current" } else { "deactivated" });
        shown["_expandable"] = json!({});
    }
    shown
}

/// A group.
pub(crate) fn group(call: &Call<'_>, group: &Group) -> Value {
    let link = format!("{}/rest/api/group/{}", call.site, form_encoded(&group.name).replace('+', "%20"));
    json!({ "type": "group", "name": group.name, "_links": { "self": link }, "_expandable": {} })
}

/// Returns a page of a list; `limit` is the page size if the request names none.
pub(crate) fn page<T>(
    call: &Call<'_>,
    all: &[T],
    limit: usize,
    show: impl Fn(&T) -> Option<Value>,
) -> Result<Reply, Refused> {
    let start = call.number("start")?.unwrap_or(0);
    let limit = call.number("limit")?.unwrap_or(limit).clamp(1, call.switches.page_cap);
    let results: Vec<Value> = all.iter().skip(start).take(limit).filter_map(show).collect();
    let path = call.request.path.strip_prefix(call.base_path).unwrap_or(&call.request.path);
    let mut kept = String::new();
    for (name, value) in url::form_urlencoded::parse(call.request.query.as_bytes()) {
        if name != "start" && name != "limit" {
            kept.extend(["&", &*name, "=", &form_encoded(&value)]);
        }
    }
    let link = |start: usize| format!("{path}?limit={limit}&start={start}{kept}");
    let mut links = json!({
        "base": call.site, "context": call.base_path, "self": format!("{}{}", call.site, link(start)),
    });
    if start.saturating_add(limit) < all.len() {
        links["next"] = json!(link(start + limit));
    }
    if start > 0 {
        links["prev"] = json!(link(start.saturating_sub(limit)));
    }
    let mut shown =
        json!({ "results": results, "start": start, "limit": limit, "size": results.len(), "_links": links });
    if call.switches.total_count {
        shown["totalCount"] = json!(all.len());
    }
    Ok(Reply::json(200, &shown))
}
