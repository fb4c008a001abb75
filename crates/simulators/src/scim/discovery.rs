//! Discovery endpoints (RFC 7643, sections 5 to 7).

use serde_json::{Value, json};

use super::instance::Call;
use super::render::{ENTERPRISE, GROUP, USER};
use super::switches::{Filters, Visibility};
use crate::front::Reply;

/// `GET /ServiceProviderConfig`
pub(crate) fn config(call: &Call<'_>) -> Reply {
    let switches = call.switches;
    let mut body = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": { "supported": switches.patch_announced },
        "bulk": {
            "supported": switches.bulk > 0, "maxOperations": switches.bulk,
            "maxPayloadSize": if switches.bulk > 0 { 1_048_576 } else { 0 },
        },
        "filter": { "supported": switches.filters != Filters::Off, "maxResults": switches.page_told },
        "changePassword": { "supported": false },
        "sort": { "supported": false },
        "etag": { "supported": switches.etag },
        "authenticationSchemes": [{
            "type": "oauthbearertoken", "name": "OAuth Bearer Token", "description": "A bearer token",
        }],
        "meta": { "resourceType": "ServiceProviderConfig", "location": format!("{}/ServiceProviderConfig", call.base) },
    });
    if switches.cursor {
        body["pagination"] = json!({ "cursor": true, "index": true, "defaultPaginationMethod": "cursor" });
    }
    Reply::scim(200, &body)
}

fn list(resources: &[Value]) -> Reply {
    Reply::scim(
        200,
        &json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"], "totalResults": resources.len(),
            "startIndex": 1, "itemsPerPage": resources.len(), "Resources": resources,
        }),
    )
}

/// `GET /ResourceTypes`
pub(crate) fn types(call: &Call<'_>) -> Reply {
    let one = |name: &str, schema: &str| {
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"], "id": name, "name": name,
            "endpoint": format!("/{name}s"), "schema": schema,
            "meta": { "resourceType": "ResourceType", "location": format!("{}/ResourceTypes/{name}", call.base) },
        })
    };
    let mut all = vec![one("User", USER)];
    if !call.switches.no_groups {
        all.push(one("Group", GROUP));
    }
    list(&all)
}

/// `GET /Schemas`
pub(crate) fn schemas(call: &Call<'_>) -> Reply {
    let switches = call.switches;
    let attribute = |name: &str, kind: &str, many: bool, writable: bool, returned: &str| {
        json!({
            "name": name, "type": kind, "multiValued": many, "required": name == "userName", "caseExact": false,
            "mutability": if writable { "readWrite" } else { "readOnly" }, "returned": returned, "uniqueness": "none",
        })
    };
    let returned = |reported: Visibility| if reported == Visibility::OnRequest { "request" } else { "default" };
    let schema = |id: &str, name: &str, attributes: Value| {
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"], "id": id, "name": name,
            "description": name, "attributes": attributes,
            "meta": { "resourceType": "Schema", "location": format!("{}/Schemas/{id}", call.base) },
        })
    };
    let user = json!([
        attribute("userName", "string", false, switches.login_rename, "default"),
        attribute("displayName", "string", false, true, "default"),
        attribute("name", "complex", false, true, "default"),
        attribute("emails", "complex", true, true, "default"),
        attribute("active", "boolean", false, true, "default"),
        attribute("externalId", "string", false, true, "default"),
        attribute("title", "string", false, true, "default"),
        attribute("phoneNumbers", "complex", true, true, "default"),
        attribute("groups", "complex", true, false, returned(switches.groups_told)),
    ]);
    let group = json!([
        attribute("displayName", "string", false, true, "default"),
        attribute("members", "complex", true, true, returned(switches.members_told)),
    ]);
    let enterprise = json!([
        attribute("employeeNumber", "string", false, true, "default"),
        attribute("department", "string", false, true, "default"),
        attribute("costCenter", "string", false, true, "default"),
    ]);
    list(&[schema(USER, "User", user), schema(ENTERPRISE, "EnterpriseUser", enterprise), schema(GROUP, "Group", group)])
}
