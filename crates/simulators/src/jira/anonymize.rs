//! Anonymization of accounts. The simulator does it at once; the progress then says so.

use serde::Deserialize;
use serde_json::{Value, json};

use super::errors::Refused;
use super::instance::{Call, Jira};
use super::state::World;
use crate::front::Reply;
use crate::identities::fold;

/// Request body that starts an anonymization.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sent {
    user_key: Option<String>,
    new_owner_key: Option<String>,
}

/// `POST /user/anonymization`, since 8.7, for system administrators.
///
/// # Source
/// "Anonymizing users", Jira administration; the answers as recorded by `gldog/anonymize_jira_users`.
pub(crate) fn start(jira: &Jira, world: &mut World, call: &Call<'_>) -> Result<Reply, Refused> {
    demand(jira, world, call)?;
    let sent: Sent = serde_json::from_slice(&call.request.body).map_err(|_| Refused::unreadable())?;
    let (key, owner) = (sent.user_key.unwrap_or_default(), sent.new_owner_key.unwrap_or_default());
    let account = world.identities.get(&key).cloned();
    let account = account.ok_or_else(|| Refused::message(400, format!("There is no user with key '{key}'.")))?;
    if world.identities.get(&owner).is_none_or(|owner| !owner.active()) {
        return Err(Refused::message(400, "The new owner does not exist or is inactive."));
    }
    if world.is_read_only(&account) {
        let why = "We can't anonymize this user, because the directory that contains them is read-only.";
        let errors = json!({ "USER_DISABLE": { "errorMessages": [why], "errors": {} } });
        return Ok(Reply::json_utf8(400, &json!({ "errors": errors, "warnings": {} })));
    }
    let name = fold(&key);
    for project in world.projects.values_mut() {
        let components = project.components.iter_mut().map(|component| &mut component.lead);
        for lead in std::iter::once(&mut project.lead).chain(components).flatten().filter(|lead| ***lead == *key) {
            *lead = owner.as_str().into();
        }
    }
    world.identities.rename(&account.id, name.clone());
    if let Some(data) = world.identities.get_mut(&account.id) {
        data.sessions = 0;
        for profile in &mut data.profiles {
            profile.display_name = format!("user-{}", &name[name.len().saturating_sub(5)..]);
            profile.email = format!("{}@jira.invalid", profile.display_name);
            profile.active = false;
        }
    }
    world.anonymized = Some((account.id.to_string(), account.name.clone()));
    Ok(Reply::json_utf8(202, &shown(world, "IN_PROGRESS").unwrap_or_default()))
}

/// `GET /user/anonymization/progress`
pub(crate) fn progress(jira: &Jira, world: &World, call: &Call<'_>) -> Result<Reply, Refused> {
    demand(jira, world, call)?;
    let none = || Refused::message(404, "A user anonymization task could not be found");
    Ok(Reply::json_utf8(200, &shown(world, "COMPLETED").ok_or_else(none)?))
}

fn demand(jira: &Jira, world: &World, call: &Call<'_>) -> Result<(), Refused> {
    if jira.version < (8, 7) {
        return Err(Refused::no_path(&call.request.path));
    }
    call.demand_user(world)?;
    let system = call.account(world).is_some_and(|account| world.is_sysadmin(account));
    if system { Ok(()) } else { Err(Refused::forbidden()) }
}

/// Returns the last task.
fn shown(world: &World, status: &str) -> Option<Value> {
    let (key, name) = world.anonymized.as_ref()?;
    Some(json!({
        "errors": {}, "warnings": {}, "userKey": key, "userName": name,
        "progressUrl": "/rest/api/2/user/anonymization/progress?taskId=10100",
        "currentProgress": if status == "COMPLETED" { 100 } else { 0 }, "operations": [], "status": status,
        "executingNode": "", "isRerun": false, "rerun": false,
    }))
}
