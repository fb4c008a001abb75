//! Holds a Jira's answers, and the requests that a client sent to it, against the vendor's description.
//!
//! `contracts/jira-10.3.openapi.json` is the description; `contracts/jira-deviations.json` lists where it is known to
//! be wrong or silent, each with the section of the collected facts that says so.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use usersync::sandbox::journal::Entry;

const DESCRIPTION: &str = include_str!("../contracts/jira-10.3.openapi.json");
const DEVIATIONS: &str = include_str!("../contracts/jira-deviations.json");

/// Checks each request with its answer; gives what is wrong, and the deviations that nothing made use of.
/// `base_path` is the path below which that Jira lies.
pub fn check(entries: &[Entry], base_path: &str) -> (Vec<String>, Vec<String>) {
    let mut contract = Contract::load();
    let mut problems = Vec::new();
    // What a fault answered, or nobody, says nothing about either side.
    for entry in entries.iter().filter(|entry| !entry.faulted && entry.status.is_some()) {
        let found = contract.check(entry, base_path);
        problems.extend(found.into_iter().map(|text| format!("{} {}: {text}", entry.method, entry.target())));
    }
    (problems, contract.unused())
}

struct Contract {
    description: Value,
    deviations: Vec<Value>,
    used: BTreeSet<usize>,
}

impl Contract {
    fn load() -> Self {
        let mut description: Value = serde_json::from_str(DESCRIPTION).expect("the description is JSON");
        close(&mut description["components"]["schemas"]);
        let deviations = serde_json::from_str(DEVIATIONS).expect("the deviations are JSON");
        Self { description, deviations, used: BTreeSet::new() }
    }

    fn unused(&self) -> Vec<String> {
        let all = self.deviations.iter().enumerate().filter(|(at, _)| !self.used.contains(at));
        all.map(|(_, one)| format!("{} {}", one["operation"], one["what"])).collect()
    }

    /// The deviation for this, now used.
    fn deviation(&mut self, operation: &str, what: &str) -> Option<Value> {
        let at = self
            .deviations
            .iter()
            .position(|one| (one["operation"] == operation || one["operation"] == "*") && one["what"] == what)?;
        self.used.insert(at);
        Some(self.deviations[at].clone())
    }

    fn check(&mut self, entry: &Entry, base_path: &str) -> Vec<String> {
        let Some(path) = entry.path.strip_prefix(base_path).and_then(|path| path.strip_prefix("/rest")) else {
            return vec!["is not below /rest".into()];
        };
        let path = path.replacen("/api/latest/", "/api/2/", 1);
        let method = entry.method.to_lowercase();
        let template = self.template(&path, &method);
        let operation = format!("{} {}", entry.method, template.as_deref().unwrap_or(&path));
        let described = template.map(|template| self.description["paths"][&template][&method].clone());
        let Some(described) = described else {
            return match self.deviation(&operation, "operation") {
                Some(_) => Vec::new(),
                None => vec!["is not described".into()],
            };
        };
        let mut problems = self.check_query(&operation, &described, entry);
        problems.extend(self.check_body(&operation, &described, entry));
        problems.extend(self.check_answer(&operation, &described, entry));
        problems
    }

    /// The described path that fits, literal parts before parameters.
    fn template(&self, path: &str, method: &str) -> Option<String> {
        let paths = self.description["paths"].as_object()?;
        let fits = |template: &str| {
            let (template, path): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
            template.len() == path.len()
                && template.iter().zip(&path).all(|(part, given)| part == given || part.starts_with('{'))
        };
        let described = |template: &&String| fits(template) && paths[*template].get(method).is_some();
        paths.keys().filter(described).min_by_key(|template| template.matches('{').count()).cloned()
    }

    fn check_query(&mut self, operation: &str, described: &Value, entry: &Entry) -> Vec<String> {
        let mut problems = Vec::new();
        let sent: Vec<(String, String)> = url::form_urlencoded::parse(entry.query.as_bytes()).into_owned().collect();
        let declared: Vec<Value> = described["parameters"].as_array().cloned().unwrap_or_default();
        for (name, value) in &sent {
            let found = declared.iter().find(|one| one["name"] == name.as_str() && one["in"] == "query");
            let Some(found) = found else {
                if self.deviation(operation, &format!("query {name}")).is_none() {
                    problems.push(format!("query parameter {name} is not described"));
                }
                continue;
            };
            let fits = match found["schema"]["type"].as_str() {
                Some("integer") => value.parse::<i64>().is_ok(),
                Some("boolean") => value.parse::<bool>().is_ok(),
                _ => true,
            };
            if !fits {
                problems.push(format!("query parameter {name} is no {}", found["schema"]["type"]));
            }
        }
        let refused = entry.status.is_some_and(|status| status >= 400);
        for one in declared.iter().filter(|one| one["required"] == true && one["in"] == "query") {
            if !refused && !sent.iter().any(|(name, _)| one["name"] == name.as_str()) {
                problems.push(format!("query parameter {} is missing", one["name"]));
            }
        }
        problems
    }

    fn check_body(&mut self, operation: &str, described: &Value, entry: &Entry) -> Vec<String> {
        let schema = &described["requestBody"]["content"]["application/json"]["schema"];
        if entry.body.is_empty() {
            let required = described["requestBody"]["required"] == true;
            let taken = entry.status.is_some_and(|status| status < 400);
            return if required && taken { vec!["a body is missing".into()] } else { Vec::new() };
        }
        if schema.is_null() {
            return vec!["a body is sent where none is described".into()];
        }
        if !entry.content_type.starts_with("application/json") {
            return vec![format!("the body is sent as {:?}", entry.content_type)];
        }
        let schema = schema.clone();
        self.validate(operation, "request", &schema, &entry.json())
    }

    fn check_answer(&mut self, operation: &str, described: &Value, entry: &Entry) -> Vec<String> {
        let status = entry.status.unwrap_or_default();
        let Some(response) = described["responses"].get(status.to_string()) else {
            return match self.deviation(operation, &format!("status {status}")) {
                Some(_) => Vec::new(),
                None => vec![format!("status {status} is not described")],
            };
        };
        let schema = response["content"]["application/json"]["schema"].clone();
        if status >= 400 {
            // Errors have no described body: Jira's own form, a page, or nothing.
            let body = entry.answer_json();
            let own = body["errorMessages"].is_array() && body["errors"].is_object();
            let page = entry.answer.starts_with(b"<");
            return if own || page || entry.answer.is_empty() {
                Vec::new()
            } else {
                vec![format!("error body {body}")]
            };
        }
        if schema.is_null() {
            if entry.answer.is_empty() {
                return Vec::new();
            }
            return vec!["an answer where none is described".into()];
        }
        self.validate(operation, &format!("response {status}"), &schema, &entry.answer_json())
    }

    /// Validates against the description, then against a deviation from it.
    fn validate(&mut self, operation: &str, what: &str, schema: &Value, value: &Value) -> Vec<String> {
        let problems = self.errors(schema, value);
        if problems.is_empty() {
            return problems;
        }
        match self.deviation(operation, what) {
            Some(deviation) => {
                let mut schema = deviation["schema"].clone();
                close(&mut schema);
                self.errors(&schema, value)
            }
            None => problems,
        }
    }

    fn errors(&self, schema: &Value, value: &Value) -> Vec<String> {
        let root = json!({ "allOf": [schema], "components": self.description["components"] });
        let validator = jsonschema::validator_for(&root).expect("a schema");
        validator.iter_errors(value).map(|error| format!("{error} at {}", error.instance_path())).collect()
    }
}

/// Forbids what is not described: the description leaves all its objects open.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("properties").is_some_and(Value::is_object) && !fields.contains_key("additionalProperties") {
                fields.insert("additionalProperties".into(), json!(false));
            }
            close_all(fields);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

fn close_all(fields: &mut Map<String, Value>) {
    fields.values_mut().for_each(close);
}
