//! Attributes of users. They are beside what a directory keeps, so they are written in a read-only one, too.

use serde::Deserialize;

use super::refused::Refused;
use super::state::World;
use super::switches::Permission;
use super::users::find;
use super::{Call, render};
use crate::front::Reply;

/// What is sent to give attributes.
#[derive(Deserialize)]
struct Sent {
    attributes: Vec<Attribute>,
}

#[derive(Deserialize)]
struct Attribute {
    name: String,
    values: Vec<String>,
}

/// `GET /user/attribute`
pub(crate) fn get(world: &World, call: &Call<'_>) -> Result<Reply, Refused> {
    Ok(Reply::json(200, &render::attributes(call, find(world, call)?, true)))
}

/// `POST /user/attribute`: those that are named have these values afterwards, all others stay.
pub(crate) fn store(world: &mut World, call: &Call<'_>) -> Result<Reply, Refused> {
    let name = find(world, call)?.name.clone();
    call.demand(Permission::ModifyUserAttributes)?;
    let sent: Sent =
        serde_json::from_slice(&call.request.body).map_err(|_| Refused::argument("The attributes cannot be read."))?;
    if let Some(account) = world.account_mut(&name) {
        account.attributes.extend(sent.attributes.into_iter().map(|one| (one.name, one.values)));
    }
    Ok(Reply::empty(204))
}

/// `DELETE /user/attribute`; one that is not there is as good as gone.
pub(crate) fn remove(world: &mut World, call: &Call<'_>) -> Result<Reply, Refused> {
    let name = find(world, call)?.name.clone();
    call.demand(Permission::ModifyUserAttributes)?;
    let attribute = call.required("attributename")?;
    if let Some(account) = world.account_mut(&name) {
        account.attributes.remove(&attribute);
    }
    Ok(Reply::empty(204))
}
