//! The example configuration file.

use textwrap::Options;

use super::keys::{self, Fallback, Key};

/// A commented configuration. It works once the files and variables that it names exist.
pub const EXAMPLE: &str = include_str!("example.toml");

/// Width of an explanation, in columns.
const WIDTH: usize = 100;

/// Returns the example with the meaning of every key.
pub fn full_example() -> String {
    let mut lines = vec![
        "## Configuration of usersync: every key, with its default or an example.".to_owned(),
        "## Lines that begin with ## explain. To set a key, remove the # in front of it, and that of its section."
            .to_owned(),
        "## Relative paths start at the folder of this file. To check this file:  usersync config check".to_owned(),
    ];
    let (mut section, mut explained) = (String::new(), None);
    // The head of the example says the same.
    for line in EXAMPLE.lines().skip_while(|line| line.starts_with('#')) {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        if bare.starts_with('[') {
            bare.trim_matches(['[', ']']).clone_into(&mut section);
            lines.push(line.to_owned());
            continue;
        }
        let Some((key, setting)) = setting(&section, line, bare) else {
            lines.push(line.replacen("# ", "## ", 1));
            continue;
        };
        // A key that is named freely is explained once.
        if explained != Some(key.path) {
            lines.push(String::new());
            lines.extend(explanation(key));
        }
        explained = Some(key.path);
        lines.push(setting.to_owned());
    }
    lines.join("\n")
}

/// Returns the key that a line sets, and the line without the comment at its end; `None`: it sets none.
fn setting<'l>(section: &str, line: &'l str, bare: &str) -> Option<(&'static Key, &'l str)> {
    let (name, _) = bare.split_once(" = ")?;
    let section = general(section);
    let key = keys::find(&format!("{section}.{name}")).or_else(|| freely_named(&section))?;
    let end =
        line.char_indices().skip(1).find(|(at, _)| line[*at..].starts_with(" #")).map_or(line.len(), |(at, _)| at);
    Some((key, line[..end].trim_end()))
}

/// Returns the section's name in the list of keys, which does not name a target.
fn general(section: &str) -> String {
    let general = "connector.policy.targets.TARGET";
    match section.strip_prefix("connector.policy.targets.").map(|rest| rest.split_once('.')) {
        Some(Some((_, rest))) => format!("{general}.{rest}"),
        Some(None) => general.to_owned(),
        None => section.to_owned(),
    }
}

/// Returns the key that stands for all names in a section.
fn freely_named(section: &str) -> Option<&'static Key> {
    let is_free = |key: &&Key| key.name().chars().all(|c| c.is_ascii_uppercase());
    keys::KEYS.iter().filter(is_free).find(|key| key.section() == section)
}

fn explanation(key: &Key) -> Vec<String> {
    let shown = match key.fallback {
        Fallback::Required => "Required:".to_owned(),
        Fallback::Absent => "Example:".to_owned(),
        Fallback::Value(_) => "Default:".to_owned(),
        Fallback::Words(words) => format!("Default: {words}. Example:"),
    };
    let variable = key.variable().map(|name| format!(" Variable: {name}.")).unwrap_or_default();
    let text = format!("{} Value: {}.{variable} {shown}", key.meaning, key.kind);
    let options = Options::new(WIDTH).initial_indent("## ").subsequent_indent("## ");
    textwrap::wrap(&text, options).into_iter().map(std::borrow::Cow::into_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Returns the lines without the # in front of sections and settings.
    fn uncommented() -> String {
        let full = full_example();
        let lines = full.lines().map(|line| match line.strip_prefix("# ") {
            Some(bare) if !line.starts_with("##") => bare,
            _ => line,
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn every_key_is_explained_once_and_has_a_value() {
        let full = full_example();
        for key in keys::KEYS {
            let text = explanation(key).join("\n");
            let times = full.matches(&text).count();
            // Keys of two sections may have the same text.
            assert!(times >= 1, "{}\n{text}", key.path);
        }
        let text = uncommented();
        let (document, errors) = toml::de::DeTable::parse_recoverable(&text);
        assert!(errors.is_empty(), "{errors:?}");
        let sections: BTreeSet<&str> = document.get_ref().keys().map(|key| key.get_ref().as_ref()).collect();
        assert_eq!(sections, ["alert", "connector", "log", "server", "store", "target"].into());
    }

    #[test]
    fn a_setting_ends_before_its_comment() {
        let (key, setting) =
            setting("log", "# level = \"info\"   # error, warn", "level = \"info\"   # error, warn").unwrap();
        assert_eq!((key.path, setting), ("log.level", "# level = \"info\""));
        assert!(super::setting("log", "# Format = words", "Format = words").is_none());
        let free = super::setting("connector.policy.groups.names", "# \"/a\" = \"A\"", "\"/a\" = \"A\"").unwrap();
        assert_eq!(free.0.path, "connector.policy.groups.names.PATH");
    }
}
