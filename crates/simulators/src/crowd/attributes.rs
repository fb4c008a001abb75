//! Attributes of users. Crowd stores them outside the directory, so they can also be written for a read-only one.

use serde::Deserialize;

use super::errors::Refused;
use super::instance::Call;
use super::render;
use super::state::World;
use super::switches::Permission;
use super::users::find;
use crate::front::Reply;

/// Request body that stores attributes.
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

/// `POST /user/attribute`: sets the values of the named attributes; all others stay.
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

/// `DELETE /user/attribute`; a missing attribute is no error.
pub(crate) fn remove(world: &mut World, call: &Call<'_>) -> Result<Reply, Refused> {
    let name = find(world, call)?.name.clone();
    call.demand(Permission::ModifyUserAttributes)?;
    let attribute = call.required("attributename")?;
    if let Some(account) = world.account_mut(&name) {
        account.attributes.remove(&attribute);
    }
    Ok(Reply::empty(204))
}
