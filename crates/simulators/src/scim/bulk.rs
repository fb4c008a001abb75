//! Bulk requests: several operations in one (RFC 7644, section 3.7).

use axum::http::HeaderMap;
use serde_json::{Value, json};

use super::errors::Refused;
use super::instance::Scim;
use crate::front::{Reply, Request};

/// `POST /Bulk`: runs each operation independently, whatever the result of those before it.
pub(crate) fn bulk(scim: &Scim, request: &Request, run: impl Fn(&Request) -> Reply) -> Result<Reply, Refused> {
    let switches = scim.switches();
    let most = switches.bulk;
    let sent: Value = serde_json::from_slice(&request.body).map_err(|_| Refused::value("not JSON"))?;
    let operations = sent["Operations"].as_array().ok_or_else(|| Refused::value("Operations is missing"))?;
    if operations.len() > most {
        return Err(Refused::new(413, None, format!("{} operations are more than {most}", operations.len())));
    }
    let mut reported = Vec::with_capacity(operations.len());
    for operation in operations {
        let (Some(method), Some(path)) = (operation["method"].as_str(), operation["path"].as_str()) else {
            return Err(Refused::value("an operation has no method or no path"));
        };
        let headers: HeaderMap = request.headers.clone();
        let one = Request {
            method: method.to_owned(),
            path: format!("{}{path}", scim.base_path),
            query: String::new(),
            headers,
            body: operation["data"].to_string().into(),
        };
        let reply = run(&one);
        let mut result = json!({
            "method": method, "location": format!("{}{}", request.origin(), one.path), "status": reply.status.to_string(),
        });
        if let Some(id) = operation.get("bulkId").filter(|_| !switches.bulk_reversed) {
            result["bulkId"] = id.clone();
        }
        if reply.status >= 400 {
            result["response"] = serde_json::from_slice(&reply.body).unwrap_or_default();
        }
        reported.push(result);
    }
    if switches.bulk_reversed {
        reported.reverse();
    }
    let schemas = ["urn:ietf:params:scim:api:messages:2.0:BulkResponse"];
    Ok(Reply::scim(200, &json!({ "schemas": schemas, "Operations": reported })))
}
