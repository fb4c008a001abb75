//! The user methods of the JSON-RPC API.

use serde_json::{Value, json};

use super::instance::Call;
use super::state::World;
use crate::front::Reply;

/// `POST /rpc/json-rpc/confluenceservice-v2`
pub(crate) fn call(world: &mut World, call: &Call<'_>) -> Reply {
    if !call.switches.remote_api {
        let mut reply = Reply::empty(403).with("content-type", "text/plain");
        reply.body = "Remote API is not enabled on this server. Ask a site administrator to enable it.".into();
        return reply;
    }
    let sent: Value = serde_json::from_slice(&call.request.body).unwrap_or_default();
    match method(world, call, &sent) {
        Ok(result) => Reply::json(200, &json!({ "jsonrpc": "2.0", "result": result, "id": sent["id"] })),
        Err(text) => {
            let error = json!({ "code": 500, "message": text, "data": null });
            Reply::json(call.switches.rpc_refusal, &json!({ "jsonrpc": "2.0", "error": error, "id": sent["id"] }))
        }
    }
}

fn method(world: &mut World, call: &Call<'_>, sent: &Value) -> Result<Value, String> {
    let first = &sent["params"][0];
    let method = sent["method"].as_str().unwrap_or_default();
    let login = first.as_str().or_else(|| first["name"].as_str()).unwrap_or_default().to_owned();
    let writes = matches!(method, "editUser" | "deactivateUser" | "reactivateUser");
    if !call.is_admin(world) {
        return Err("You are not permitted to perform this operation.".to_owned());
    }
    if writes && call.switches.websudo {
        return Err("This method needs a secure administrator session.".to_owned());
    }
    if writes && call.switches.read_only {
        return Ok(json!(false));
    }
    let missing = || format!("No user found with name {login}");
    let name = world.identities.named(&login).ok_or_else(missing)?.name.clone();
    let account = world.account_mut(&login).ok_or_else(missing)?;
    match method {
        "getUser" => {
            return Ok(json!({ "name": name, "fullname": account.full_name, "email": account.email, "url": null }));
        }
        "isActiveUser" => return Ok(json!(account.active)),
        "editUser" => {
            let text = |field: &str| first[field].as_str().unwrap_or_default().to_owned();
            (account.full_name, account.email) = (text("fullname"), text("email"));
        }
        "deactivateUser" => account.active = false,
        "reactivateUser" => account.active = true,
        _ => return Err(format!("No such method: {method}")),
    }
    Ok(json!(true))
}
