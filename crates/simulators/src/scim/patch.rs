//! PATCH (RFC 7644, section 3.5.2).

use serde_json::{Map, Value};

use super::errors::Refused;
use super::instance::Call;

const PATCH: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// Kind of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Add,
    Remove,
    Replace,
}

/// An operation of a PATCH.
pub(crate) struct Operation {
    pub(crate) verb: Verb,
    pub(crate) path: Option<String>,
    pub(crate) value: Option<Value>,
}

/// Reads the operations of a PATCH.
pub(crate) fn operations(call: &Call<'_>) -> Result<Vec<Operation>, Refused> {
    let body: Value = serde_json::from_slice(&call.request.body).map_err(|_| Refused::syntax())?;
    let right = body["schemas"].as_array().is_some_and(|schemas| schemas.iter().any(|schema| schema == PATCH));
    let operations = body["Operations"].as_array().filter(|_| right).ok_or_else(Refused::syntax)?;
    operations
        .iter()
        .map(|operation| {
            let verb = match operation["op"].as_str().map(str::to_lowercase).as_deref() {
                Some("add") => Verb::Add,
                Some("remove") => Verb::Remove,
                Some("replace") => Verb::Replace,
                _ => return Err(Refused::syntax()),
            };
            let path = operation["path"].as_str().map(str::to_owned);
            if verb == Verb::Remove && path.is_none() {
                return Err(Refused::new(400, Some("noTarget"), "A removal needs a path."));
            }
            Ok(Operation { verb, path, value: operation.get("value").cloned() })
        })
        .collect()
}

/// Applies an operation to simple attributes and to sub-attributes such as `name.formatted`.
pub(crate) fn apply(fields: &mut Map<String, Value>, operation: &Operation) -> Result<(), Refused> {
    let Some(path) = &operation.path else {
        let Some(Value::Object(values)) = &operation.value else { return Err(Refused::syntax()) };
        fields.extend(values.clone());
        return Ok(());
    };
    if path.contains('[') {
        return Err(Refused::path(path));
    }
    let value = match operation.verb {
        Verb::Remove => None,
        _ => Some(operation.value.clone().ok_or_else(Refused::syntax)?),
    };
    let mut fields = fields;
    let mut name = path.as_str();
    if let Some((schema, attribute)) = path.rsplit_once(':') {
        let extension = fields.entry(schema).or_insert_with(|| Value::Object(Map::new()));
        (fields, name) = (extension.as_object_mut().ok_or_else(|| Refused::path(path))?, attribute);
    }
    let (fields, name) = match name.split_once('.') {
        None => (fields, name),
        Some((name, sub)) => {
            let whole = fields.entry(name).or_insert_with(|| Value::Object(Map::new()));
            (whole.as_object_mut().ok_or_else(|| Refused::path(path))?, sub)
        }
    };
    match value {
        Some(value) => fields.insert(name.to_owned(), value),
        None => fields.remove(name),
    };
    Ok(())
}
