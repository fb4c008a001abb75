//! Projects and their components: read, and given another lead.

use serde::Deserialize;
use serde_json::{Value, json};

use super::errors::Refused;
use super::instance::{Call, Jira};
use super::render;
use super::state::{Account, Component, Project, World};
use crate::front::Reply;
use crate::roster::Id;

/// Request body that changes a project.
#[derive(Debug, Deserialize)]
struct SentProject {
    lead: Option<String>,
}

/// Request body that changes a component.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SentComponent {
    lead_user_name: Option<String>,
}

/// `GET /project`: the projects that the caller may browse. Leads are shown only if they are expanded.
pub(crate) fn list(jira: &Jira, world: &World, call: &Call<'_>) -> Result<Reply, Refused> {
    call.demand_user(world)?;
    let with_leads = call.request.params("expand").join(",").split(',').any(|name| name == "lead");
    let shown: Vec<Value> = world
        .projects
        .iter()
        .filter(|_| jira.switches().browse_projects)
        .map(|(key, project)| shown_project(world, call, key, project, with_leads))
        .collect();
    Ok(Reply::json_utf8(200, &shown))
}

/// `GET /project/{key}/components`
pub(crate) fn components(world: &World, call: &Call<'_>, key: &str) -> Result<Reply, Refused> {
    call.demand_user(world)?;
    let project = world.projects.get(key).ok_or_else(|| no_project(key))?;
    let shown: Vec<Value> =
        project.components.iter().map(|component| shown_component(world, call, key, component)).collect();
    Ok(Reply::json_utf8(200, &shown))
}

/// `PUT /project/{key}`
pub(crate) fn update(world: &mut World, call: &Call<'_>, key: &str) -> Result<Reply, Refused> {
    call.demand_admin(world)?;
    if !world.projects.contains_key(key) {
        return Err(no_project(key));
    }
    let sent: SentProject = serde_json::from_slice(&call.request.body).map_err(|_| Refused::unreadable())?;
    if let Some(lead) = sent.lead {
        let lead = new_lead(world, &lead, "projectLead")?;
        if let Some(project) = world.projects.get_mut(key) {
            project.lead = Some(lead);
        }
    }
    let project = world.projects.get(key).ok_or_else(|| no_project(key))?;
    Ok(Reply::json_utf8(200, &shown_project(world, call, key, project, true)))
}

/// `PUT /component/{id}`
pub(crate) fn update_component(world: &mut World, call: &Call<'_>, id: &str) -> Result<Reply, Refused> {
    call.demand_admin(world)?;
    let sent: SentComponent = serde_json::from_slice(&call.request.body).map_err(|_| Refused::unreadable())?;
    let lead = sent.lead_user_name.map(|name| new_lead(world, &name, "leadUserName")).transpose()?;
    let missing = || Refused::message(404, format!("The component with id {id} does not exist."));
    let (key, component) = world.component_mut(id).ok_or_else(missing)?;
    component.lead = lead.or(component.lead.take());
    let (key, component) = (key.clone(), component.clone());
    Ok(Reply::json_utf8(200, &shown_component(world, call, &key, &component)))
}

/// Returns why an account cannot be deactivated or deleted: Jira refuses leads of projects, and a switch decides about
/// those of components. The wording of the refusal is not documented.
pub(crate) fn why_kept(jira: &Jira, world: &World, account: &Account) -> Option<String> {
    let switches = jira.switches();
    let led = |lead: &Option<Id>| lead.as_ref() == Some(&account.id);
    let projects: Vec<&str> =
        world.projects.iter().filter(|(_, project)| led(&project.lead)).map(|(key, _)| key.as_str()).collect();
    if switches.refuse_project_leads && !projects.is_empty() {
        return Some(format!("This user is the lead of these projects: {}.", projects.join(", ")));
    }
    let all = world.projects.values().flat_map(|project| &project.components);
    let components: Vec<&str> =
        all.filter(|component| led(&component.lead)).map(|component| component.name.as_str()).collect();
    (switches.refuse_component_leads && !components.is_empty())
        .then(|| format!("This user is the lead of these components: {}.", components.join(", ")))
}

/// Returns the account that becomes a lead, which has to exist and to be active.
fn new_lead(world: &World, name: &str, field: &str) -> Result<Id, Refused> {
    let account = world.identities.named(name).filter(|account| account.active());
    let account = account.ok_or_else(|| Refused::field(field, "You must specify a valid lead."))?;
    Ok(Id::clone(&account.id))
}

fn no_project(key: &str) -> Refused {
    Refused::message(404, format!("No project could be found with key '{key}'."))
}

fn shown_lead(world: &World, call: &Call<'_>, lead: Option<&Id>) -> Option<Value> {
    lead.and_then(|id| world.identities.get(id)).map(|account| json!(render::listed(&call.api, account)))
}

fn shown_project(world: &World, call: &Call<'_>, key: &str, project: &Project, with_lead: bool) -> Value {
    let mut shown = json!({
        "expand": "description,lead,url,projectKeys", "self": format!("{}/project/{key}", call.api),
        "id": project.id, "key": key, "name": key, "archived": false,
    });
    if let Some(lead) = shown_lead(world, call, project.lead.as_ref()).filter(|_| with_lead) {
        shown["lead"] = lead;
    }
    shown
}

fn shown_component(world: &World, call: &Call<'_>, key: &str, component: &Component) -> Value {
    let mut shown = json!({
        "self": format!("{}/component/{}", call.api, component.id), "id": component.id, "name": component.name,
        "assigneeType": "PROJECT_DEFAULT", "project": key,
    });
    if let Some(lead) = shown_lead(world, call, component.lead.as_ref()) {
        shown["lead"] = lead;
    }
    shown
}
