//! The reference of all configuration keys, for `usersync config reference` and `docs/configuration.md`.

use super::keys::{Fallback, KEYS, Key, heading};

/// One row of the key reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The section as written in the file: `[server]`, `[[target]]`.
    pub section: String,
    /// The key's name.
    pub key: &'static str,
    /// The type of the value.
    pub kind: &'static str,
    /// The default; empty if there is none.
    pub default: String,
    /// What the key does.
    pub meaning: &'static str,
    /// The environment variable that overrides it.
    pub variable: Option<String>,
}

/// Returns all keys in the order of the file.
pub fn reference() -> Vec<Row> {
    let row = |key: &Key| Row {
        section: heading(key.section()),
        key: key.name(),
        kind: key.kind,
        default: match key.fallback {
            Fallback::Required => "required".to_owned(),
            Fallback::Absent => String::new(),
            Fallback::Value(toml) => format!("`{toml}`"),
            Fallback::Words(words) => words.to_owned(),
        },
        meaning: key.meaning,
        variable: key.variable(),
    };
    KEYS.iter().map(row).collect()
}

/// Returns the key reference as Markdown, for `docs/configuration.md`.
pub fn reference_markdown() -> String {
    let mut lines = Vec::new();
    let mut section = String::new();
    for row in reference() {
        if row.section != section {
            lines.push(format!("\n### `{}`\n", row.section));
            lines.push("| key | value | default | meaning |\n| --- | --- | --- | --- |".to_owned());
            section.clone_from(&row.section);
        }
        let variable = row.variable.map(|name| format!(" Variable: `{name}`.")).unwrap_or_default();
        let cells = [format!("`{}`", row.key), row.kind.to_owned(), row.default, row.meaning.to_owned() + &variable];
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        lines.push(format!("| {} |", cells.join(" | ")));
    }
    lines.join("\n").trim_start().to_owned() + "\n"
}
