//! Masks secrets in the text of the file before any of it is shown in an error. Lengths are preserved, so spans stay
//! valid.
//!
//! It works on the text, not on the parsed document, because a file that does not parse is shown too.

use std::ops::Range;

use super::keys::KEYS;

/// Replaces each byte of a value that may be a secret with `*`.
pub(super) fn mask(text: &str) -> String {
    let mut hidden: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while let Some(equals) = text[at..].find('=').map(|offset| at + offset) {
        at = equals + 1;
        let name = name_before(&text[..equals]);
        let Some(rule) = rule_for(name) else { continue };
        let value = value_after(text, equals + 1);
        let written = &text[value.clone()];
        let shown = match rule {
            Rule::Hide => false,
            Rule::Variable => is_variable_name(written.trim_matches(['"', '\''])),
            Rule::Unknown => written.contains("{{"),
        };
        if !shown {
            at = value.end;
            hidden.push(value);
        }
    }
    hidden.extend(credentials_in_urls(text));
    hide(text, &hidden)
}

/// Whether a text may be the name of an environment variable. Only upper case is accepted, so that a secret in its
/// place is not shown as a name.
pub(super) fn is_variable_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    !text.is_empty() && !text.starts_with(|c: char| c.is_ascii_digit()) && text.bytes().all(allowed)
}

enum Rule {
    Hide,
    /// The value names a variable, unless it is a misplaced secret.
    Variable,
    /// The key is unknown. A misspelt `tokn` holds a token; a template under a free attribute name holds no secret.
    Unknown,
}

fn rule_for(name: &str) -> Option<Rule> {
    let secret = ["secret", "token", "password"].iter().any(|word| name.contains(word));
    match name {
        // A part of the address may be a secret.
        "webhook" => Some(Rule::Hide),
        _ if !secret && !is_known(name) => Some(Rule::Unknown),
        _ if !is_known(name) => Some(Rule::Hide),
        _ if !secret || name.ends_with("_file") => None,
        _ if name.ends_with("_env") => Some(Rule::Variable),
        _ => Some(Rule::Hide),
    }
}

fn is_known(name: &str) -> bool {
    KEYS.iter().any(|key| key.path.split('.').any(|part| part == name))
}

/// Returns the last part of the key before an equals sign, without quotes.
fn name_before(text: &str) -> &str {
    let text = text.trim_end().trim_end_matches(['"', '\'']);
    let start = text
        .rfind(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'))
        .map_or(0, |at| at + text[at..].chars().next().map_or(1, char::len_utf8));
    &text[start..]
}

/// Returns the span of a value: any string, an array, or the rest of the line.
fn value_after(text: &str, from: usize) -> Range<usize> {
    let rest = &text[from..];
    let start = from + (rest.len() - rest.trim_start_matches([' ', '\t']).len());
    let value = &text[start..];
    let line = value.find('\n').unwrap_or(value.len());
    let until = |opening: usize, closing: &str| {
        value[opening..].find(closing).map_or(value.len(), |end| opening + end + closing.len())
    };
    let length = if value.starts_with("\"\"\"") {
        until(3, "\"\"\"")
    } else if value.starts_with("'''") {
        until(3, "'''")
    } else if value.starts_with('[') {
        until(1, "]").max(line)
    } else {
        line
    };
    start..start + length
}

/// Returns the spans of `user:password@` after `://`.
fn credentials_in_urls(text: &str) -> Vec<Range<usize>> {
    text.match_indices("://")
        .filter_map(|(at, mark)| {
            let start = at + mark.len();
            let rest = &text[start..];
            // A password may contain any character, so a path with an @ is masked too.
            let end = rest.find(['"', '\'', '\n']).unwrap_or(rest.len());
            rest[..end].rfind('@').map(|sign| start..start + sign)
        })
        .collect()
}

fn hide(text: &str, hidden: &[Range<usize>]) -> String {
    text.char_indices()
        .flat_map(|(at, c)| {
            let inside = hidden.iter().any(|range| range.contains(&at)) && !c.is_control();
            let (c, count) = if inside { ('*', c.len_utf8()) } else { (c, 1) };
            std::iter::repeat_n(c, count)
        })
        .collect()
}
