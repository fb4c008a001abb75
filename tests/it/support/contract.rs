//! Checks the requests of a client and a product's answers against the vendor's API description (`OpenAPI` 3).
//!
//! A list of deviations has the places where the description is known to be wrong or incomplete, each with its source
//! in the collected facts:
//!
//! ```json
//! { "operation": "GET /api/2/user/search", "what": "response 200", "why": "an array", "source": "facts.md 1.3", "schema": {} }
//! ```
//!
//! `operation` is a method with a described path, or `*` for all of them. `what` is `operation` (it is not described),
//! `query NAME`, `request`, `status N`, or `response N` (then `schema` applies instead).

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use usersync_simulators::journal::Entry;

/// A vendor's API description, with its known errors.
pub struct Contract {
    description: Value,
    deviations: Vec<Value>,
    /// Prefix of the described paths, below the base path: `/rest`, or empty.
    strip: String,
    /// Replacements for parts of paths that the description spells differently.
    aliases: Vec<(String, String)>,
    /// Returns whether a body is the product's own refusal, where the description has no error bodies.
    refusal: fn(&Value) -> bool,
    used: BTreeSet<usize>,
}

impl Contract {
    /// Creates a contract from a description and its deviations, both JSON. `strip` precedes each described path.
    pub fn new(description: &str, deviations: &str, strip: &str) -> Self {
        let mut description: Value = serde_json::from_str(description).expect("the description is JSON");
        close(&mut description["components"]["schemas"]);
        let deviations = serde_json::from_str(deviations).expect("the deviations are JSON");
        let strip = strip.to_owned();
        Self { description, deviations, strip, aliases: Vec::new(), refusal: |_| false, used: BTreeSet::new() }
    }

    /// Reads `from` in a path as `to`, such as `/api/latest/` as `/api/2/`.
    pub fn alias(mut self, from: &str, to: &str) -> Self {
        self.aliases.push((from.to_owned(), to.to_owned()));
        self
    }

    /// Sets the check for the product's own refusals, where the description has no error bodies.
    pub fn refusal(mut self, own: fn(&Value) -> bool) -> Self {
        self.refusal = own;
        self
    }

    /// Returns what is wrong with each request and its answer; `base_path` is the product's base path.
    pub fn check(&mut self, entries: &[Entry], base_path: &str) -> Vec<String> {
        let mut problems = Vec::new();
        // An answer from a fault, or no answer, proves nothing about either side.
        for entry in entries.iter().filter(|entry| !entry.faulted && entry.status.is_some()) {
            let found = self.check_one(entry, base_path);
            problems.extend(found.into_iter().map(|text| format!("{} {}: {text}", entry.method, entry.target())));
        }
        problems
    }

    /// Returns the deviations that no request has used so far.
    pub fn unused(&self) -> Vec<String> {
        let all = self.deviations.iter().enumerate().filter(|(at, _)| !self.used.contains(at));
        all.map(|(_, one)| format!("{} {}", one["operation"], one["what"])).collect()
    }

    /// Returns the deviation for this, and marks it as used.
    fn deviation(&mut self, operation: &str, what: &str) -> Option<Value> {
        let at = self
            .deviations
            .iter()
            .position(|one| (one["operation"] == operation || one["operation"] == "*") && one["what"] == what)?;
        self.used.insert(at);
        Some(self.deviations[at].clone())
    }

    fn check_one(&mut self, entry: &Entry, base_path: &str) -> Vec<String> {
        let Some(path) = entry.path.strip_prefix(base_path).and_then(|path| path.strip_prefix(&*self.strip)) else {
            return vec![format!("is not below {base_path}{}", self.strip)];
        };
        let path = self.aliases.iter().fold(path.to_owned(), |path, (from, to)| path.replacen(from, to, 1));
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

    /// Returns the described path that matches; literal parts precede parameters.
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
            // The same parameter can be described twice, once as text and once by its type.
            let mut found =
                declared.iter().filter(|one| one["name"] == name.as_str() && one["in"] == "query").peekable();
            if found.peek().is_none() {
                if self.deviation(operation, &format!("query {name}")).is_none() {
                    problems.push(format!("query parameter {name} is not described"));
                }
                continue;
            }
            problems.extend(found.filter_map(|one| {
                let kind = &one["schema"]["type"];
                let fits = match kind.as_str() {
                    Some("integer") => value.parse::<i64>().is_ok(),
                    Some("boolean") => value.parse::<bool>().is_ok(),
                    _ => true,
                };
                (!fits).then(|| format!("query parameter {name} is no {kind}"))
            }));
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
        let schema = json_schema(&described["requestBody"]);
        if entry.body.is_empty() {
            let required = described["requestBody"]["required"] == true;
            let taken = entry.status.is_some_and(|status| status < 400);
            return if required && taken { vec!["a body is missing".into()] } else { Vec::new() };
        }
        let Some(schema) = schema else {
            return vec!["a body is sent where none is described".into()];
        };
        if !is_json(&entry.content_type) {
            return vec![format!("the body is sent as {:?}", entry.content_type)];
        }
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
        let schema = json_schema(response);
        // Any refusal can have a page of a proxy or of the product as its body.
        if status >= 400 && (entry.answer.is_empty() || entry.answer.starts_with(b"<")) {
            return Vec::new();
        }
        match schema {
            Some(schema) => self.validate(operation, &format!("response {status}"), &schema, &entry.answer_json()),
            None if entry.answer.is_empty() => Vec::new(),
            None if status >= 400 && (self.refusal)(&entry.answer_json()) => Vec::new(),
            None if status >= 400 => vec![format!("error body {}", entry.answer_json())],
            None => vec!["an answer where none is described".into()],
        }
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

/// Returns the schema of a JSON body, whatever its character set is.
fn json_schema(body: &Value) -> Option<Value> {
    let content = body["content"].as_object()?;
    let (_, json) = content.iter().find(|(media, _)| is_json(media))?;
    json.get("schema").cloned()
}

fn is_json(media: &str) -> bool {
    ["application/json", "application/scim+json"].iter().any(|json| media.starts_with(json))
}

/// Forbids properties that are not described: the description leaves all its objects open.
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
