//! Every command, option, key and variable that a message, a help text or a document names exists.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use regex::Regex;

use super::place::Place;

/// Words after the product's name that are not commands.
const PROSE: &[&str] = &["activates", "checks", "could", "does", "failed", "itself", "listens", "re-reads", "retries"];
/// Keys inside the value of another key.
const INNER: &[&str] = &["template", "when", "empty", "username", "type", "attribute", "equals", "sync"];

/// Commands as `--help` shows them.
struct Commands {
    /// Options of each command, by its words, and whether they take a value.
    options: BTreeMap<Vec<String>, BTreeMap<String, bool>>,
}

impl Commands {
    async fn read() -> Self {
        let place = Place::nowhere();
        let mut commands = Self { options: BTreeMap::new() };
        let option = Regex::new(r"--[a-z][a-z-]*").expect("a pattern");
        let mut left = vec![Vec::new()];
        while let Some(words) = left.pop() {
            let args: Vec<&str> = words.iter().map(String::as_str).chain(["--help"]).collect();
            let help = place.run(&args).await;
            help.ended(0);
            let options = help.out.lines().filter(|line| line.trim_start().starts_with('-'));
            let options = options.filter_map(|line| {
                let line = line.split("  --").last().map_or(line.to_owned(), |rest| format!("--{rest}"));
                let valued = line.split("   ").next().is_some_and(|part| part.contains('<'));
                option.find(&line).map(|found| (found.as_str().to_owned(), valued))
            });
            let options: BTreeMap<String, bool> = options.collect();
            let listed = help.out.lines().skip_while(|line| *line != "Commands:").skip(1);
            for line in listed.take_while(|line| !line.is_empty()) {
                let Some(word) = line.strip_prefix("  ").filter(|line| !line.starts_with(' ')) else { continue };
                let word = word.split_whitespace().next().expect("a word");
                if word != "help" {
                    left.push([words.clone(), vec![word.to_owned()]].concat());
                }
            }
            commands.options.insert(words, options);
        }
        assert!(commands.options.len() > 30, "{:?}", commands.options.keys());
        commands
    }

    fn is(&self, words: &[String]) -> bool {
        self.options.contains_key(words)
    }

    fn has_parts(&self, words: &[String]) -> bool {
        self.options.keys().any(|known| known.len() > words.len() && known.starts_with(words))
    }

    /// Returns what is wrong with a mention, the text after `usersync `; `None`: nothing.
    fn wrong(&self, mention: &str) -> Option<String> {
        let mut path: Vec<String> = Vec::new();
        let mut options: Vec<&str> = Vec::new();
        let mut tokens = mention.split(' ').filter(|token| !token.is_empty()).peekable();
        // Options before the command are global options.
        while let Some(token) = tokens.peek().copied() {
            if token.starts_with("--") {
                options.extend(tokens.next());
                if self.options.get(&path).and_then(|known| known.get(token)) == Some(&true) {
                    tokens.next();
                }
                continue;
            }
            let next = [path.clone(), vec![token.to_owned()]].concat();
            if path.is_empty() && (PROSE.contains(&token) || token.starts_with('{')) {
                return None;
            } else if self.is(&next) {
                path = next;
                tokens.next();
            } else if path.is_empty() || (self.has_parts(&path) && token.chars().all(|one| one.is_ascii_lowercase())) {
                return Some(format!("usersync {mention}: there is no command {}", next.join(" ")));
            } else {
                break;
            }
        }
        let known = &self.options[&path];
        let option = Regex::new(r"^--[a-z][a-z-]*").expect("a pattern");
        options.into_iter().chain(tokens).filter_map(|token| option.find(token)).find_map(|found| {
            let missing = !known.contains_key(found.as_str());
            missing
                .then(|| format!("usersync {mention}: {} is no option of usersync {}", found.as_str(), path.join(" ")))
        })
    }
}

fn files(folder: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if path.is_dir() {
            if !["target", "node_modules"].contains(&name.as_str()) && !name.starts_with('.') {
                files(&path, endings, found);
            }
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            found.push(path);
        }
    }
}

/// Returns the product's sources and documents, by path.
fn texts(folders: &[&str], endings: &[&str]) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in folders {
        let path = root.join(folder);
        if path.is_dir() { files(&path, endings, &mut found) } else { found.push(path) }
    }
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root).expect("below").display().to_string();
        (name, std::fs::read_to_string(path).expect("text"))
    };
    found.into_iter().map(read).collect()
}

const DOCUMENTS: &[&str] =
    &["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs", "deploy", "keycloak-spi-notes", "benches"];

/// Returns the strings of Rust sources, with continued lines joined.
fn strings(text: &str) -> Vec<String> {
    let string = Regex::new(r#""((?:[^"\\]|\\.|\\\n\s*)*)""#).expect("a pattern");
    let joined = Regex::new(r"\\\n\s*").expect("a pattern");
    let code = text.lines().map(|line| if line.trim_start().starts_with("//!") { "" } else { line });
    let code = code.collect::<Vec<_>>().join("\n");
    string.captures_iter(&code).map(|found| joined.replace_all(&found[1], "").replace("\\\"", "\"")).collect()
}

/// Returns the places where a text names a command: after a colon, in backticks, at the beginning of a line. Prose
/// about the product is not included.
fn mentions(text: &str) -> Vec<String> {
    let named = Regex::new(
        r"(?m)(?:^\s*(?:\$ |sudo -u usersync )?|: |`(?:sudo -u usersync )?|   |[a-z] or: |&& )(?:\S*/)?usersync((?: +(?:--[a-z-]+(?:[ =][A-Za-z./{}0-9-]+)?|[a-z][a-z-]*|\{[a-z0-9_.]*\}|[A-Z]+|[0-9]+))+)",
    )
    .expect("a pattern");
    named.captures_iter(text).map(|found| found[1].trim().to_owned()).collect()
}

/// Returns the code of a document, one line each: fenced blocks and text in backticks.
fn code(text: &str) -> String {
    let span = Regex::new(r"`([^`]+)`").expect("a pattern");
    let (mut code, mut fenced) = (Vec::new(), false);
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            code.push(line);
        } else {
            code.extend(span.captures_iter(line).map(|found| found.get(1).expect("a span").as_str()));
        }
    }
    code.join("\n")
}

#[tokio::test]
async fn every_command_and_option_that_is_named_exists() {
    let commands = Commands::read().await;
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (path, text) in texts(DOCUMENTS, &[".md"]) {
        for mention in mentions(&code(&text)) {
            seen += 1;
            wrong.extend(commands.wrong(&mention).map(|what| format!("{path}: {what}")));
        }
    }
    let value = Regex::new(r"\{\{ \$labels\.[a-z]+ \}\}").expect("a pattern");
    for (path, text) in texts(&["deploy"], &[".rules.yml"]) {
        let text = text.lines().filter(|line| !line.contains("summary: ")).collect::<Vec<_>>().join("\n");
        for mention in mentions(&value.replace_all(&text, "NAME")) {
            seen += 1;
            wrong.extend(commands.wrong(&mention).map(|what| format!("{path}: {what}")));
        }
    }
    for (path, text) in texts(&["src"], &[".rs"]) {
        for mention in strings(&text).iter().flat_map(|text| mentions(text)) {
            seen += 1;
            wrong.extend(commands.wrong(&mention).map(|what| format!("{path}: {what}")));
        }
    }
    assert!(seen > 100, "{seen} were found");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn every_option_that_a_command_names_alone_is_one_of_its_own() {
    let commands = Commands::read().await;
    let option = Regex::new(r"--[a-z][a-z-]*").expect("a pattern");
    let mut wrong = Vec::new();
    for (path, text) in texts(&["src/cli"], &[".rs"]) {
        let below = path.strip_prefix("src/cli/").expect("below");
        let name = below.split(['/', '.']).next().expect("a name");
        let ours: BTreeSet<&String> = commands
            .options
            .iter()
            .filter(|(words, _)| words.first().is_none_or(|first| first == name))
            .flat_map(|(_, options)| options.keys())
            .collect();
        for text in strings(&text) {
            // A named command has its own options, which the test above compares.
            let alone = text.split("usersync ").next().expect("a part");
            for found in option.find_iter(alone).map(|found| found.as_str().to_owned()) {
                let elsewhere = found.starts_with("--spi-");
                if !elsewhere && !ours.contains(&found) {
                    wrong.push(format!("{path}: {found} in: {text}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn every_configuration_key_and_variable_that_is_named_exists() {
    let (_, document) = Place::nowhere().json(&["config", "reference"]).await;
    let rows = document["keys"].as_array().expect("keys").clone();
    let word = |row: &serde_json::Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let keys: BTreeSet<String> = rows.iter().map(|row| word(row, "key")).collect();
    let section_of = |row| word(row, "section").trim_matches(['[', ']', '`']).to_owned();
    // A key with a table as its value can be written as a section.
    let tables = rows.iter().filter(|row| word(row, "kind") == "table");
    let tables = tables.map(|row| format!("{}.{}", section_of(row), word(row, "key")));
    let sections: BTreeSet<String> = rows.iter().map(section_of).chain(tables).collect();
    let mut variables: BTreeSet<String> = rows.iter().map(|row| word(row, "variable")).collect();
    variables.extend(["USERSYNC_CONFIG", "USERSYNC_LOG"].map(str::to_owned));
    let set = Regex::new(r"(?:^|[ `(])([a-z]+(?:_[a-z0-9]+)*) = (?:true|false|\\?[\x22\[0-9])").expect("a pattern");
    let file = Regex::new(r"\b((?:[a-z0-9]+_)+(?:file|env))\b").expect("a pattern");
    let section = Regex::new(r"(?m)(?:^\s*|`)\[\[?([a-z]+(?:\.[A-Za-z]+)*)\]\]?(?:$|[ `])").expect("a pattern");
    let target = Regex::new(r"targets\.[a-z]+").expect("a pattern");
    let variable = Regex::new(r"\bUSERSYNC_[A-Z_]+\b").expect("a pattern");
    let mut wrong = Vec::new();
    let documents = texts(&["README.md", "docs"], &[".md"]).into_iter();
    let documents = documents.map(|(path, text)| (path, vec![text]));
    let sources = texts(&["src/cli", "src/engine", "src/web", "crates/clients/src"], &[".rs"]).into_iter();
    let sources = sources.map(|(path, text)| {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        (path, strings(code))
    });
    for (path, texts) in documents.chain(sources) {
        for text in texts {
            let named = set.captures_iter(&text).chain(file.captures_iter(&text));
            for key in named.map(|found| found[1].to_owned()) {
                if !keys.contains(&key) && !INNER.contains(&key.as_str()) {
                    wrong.push(format!("{path}: there is no key {key}"));
                }
            }
            if std::path::Path::new(&path).extension().is_some_and(|ending| ending == "md") {
                let named =
                    section.captures_iter(&text).map(|found| target.replace(&found[1], "targets.TARGET").into_owned());
                for found in named {
                    let known = sections.iter().any(|known| *known == found || known.starts_with(&format!("{found}.")));
                    if !known {
                        wrong.push(format!("{path}: there is no section {found}"));
                    }
                }
            }
            for found in variable.find_iter(&text).map(|found| found.as_str().to_owned()) {
                if !variables.contains(&found) {
                    wrong.push(format!("{path}: there is no variable {found}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Text that a message must never contain: `1 operations`, `..`, a doubled prefix.
#[track_caller]
pub fn assert_well_written(text: &str) {
    let one = Regex::new(r"(?:^|[^0-9.,\u{2009}])1 (?:operations|users|groups|accounts|members|tasks|runs|events|items|dead letters|memberships)\b")
        .expect("a pattern");
    let stops = Regex::new(r"[^.…]\.\.(?:[^./\\]|$)").expect("a pattern");
    for line in text.lines() {
        assert!(!one.is_match(line), "a wrong plural: {line}");
        assert!(!stops.is_match(line), "two full stops: {line}");
        let mut parts = line.trim_start().split(": ");
        if let (Some(first), Some(second)) = (parts.next(), parts.next()) {
            assert!(first.len() < 3 || first != second, "a prefix twice: {line}");
        }
    }
}
