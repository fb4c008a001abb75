//! Escapes untrusted text for terminal and log; the only module that does. Escaped are characters that would act
//! instead of being shown.

use std::{borrow::Cow, fmt::Write as _};

/// Escapes every character that acts on a terminal, ends a line or reorders text, as `\n` or `\u{1b}`.
///
/// # Guarantees
/// The result holds no control, bidirectional, line-separating or invisible tag character, and no noncharacter.
pub fn text(text: &str) -> Cow<'_, str> {
    escaped(text, |c, out| out.extend(c.escape_default()))
}

/// Escapes the same characters inside JSON, with JSON's own escapes; line ends between its values stay.
pub fn json(text: &str) -> Cow<'_, str> {
    escaped_but(
        text,
        |c| acts(c) && c != '\n',
        |c, out| {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        },
    )
}

/// Whether a character acts instead of being shown.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Bidirectional marks, embeddings, overrides and isolates.
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Line and paragraph separators, the byte order mark, tags, and the noncharacters.
            | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}' | '\u{fdd0}'..='\u{fdef}')
        || u32::from(c) & 0xfffe == 0xfffe
}

fn escaped(text: &str, escape: impl Fn(char, &mut String)) -> Cow<'_, str> {
    escaped_but(text, acts, escape)
}

fn escaped_but(text: &str, acts: impl Fn(char) -> bool, escape: impl Fn(char, &mut String)) -> Cow<'_, str> {
    let Some(first) = text.find(&acts) else { return Cow::Borrowed(text) };
    let mut shown = String::with_capacity(text.len() + 16);
    shown.push_str(&text[..first]);
    for c in text[first..].chars() {
        if acts(c) { escape(c, &mut shown) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_acts_is_shown_and_everything_else_stays() {
        for (given, shown) in [
            ("Zoë 🦀 日本語 \u{2009}1", "Zoë 🦀 日本語 \u{2009}1"),
            ("می\u{200c}خواهم", "می\u{200c}خواهم"),
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            ("\u{1b}[31mred\u{1b}]0;title\u{7}", "\\u{1b}[31mred\\u{1b}]0;title\\u{7}"),
            ("\u{9b}31m\u{7f}\0", "\\u{9b}31m\\u{7f}\\u{0}"),
            ("a\u{202e}cod.exe\u{2066}", "a\\u{202e}cod.exe\\u{2066}"),
            ("\u{2028}\u{feff}\u{e0041}\u{fdd1}", "\\u{2028}\\u{feff}\\u{e0041}\\u{fdd1}"),
        ] {
            assert_eq!(text(given), shown);
            assert_eq!(text(shown), shown, "escaping twice changes nothing");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_acts_is_left(given in any::<String>()) {
            prop_assert!(!text(&given).chars().any(acts));
        }

        #[test]
        fn json_keeps_its_meaning(given in any::<String>(), bidi in "[\u{202a}-\u{202e}\u{9b}\u{e0001}\u{7f}a]{0,8}") {
            let value = serde_json::json!({ "a": given, "b": [bidi] });
            let document = serde_json::to_string_pretty(&value).unwrap();
            let shown = json(&document);
            prop_assert!(!shown.chars().any(|c| acts(c) && c != '\n'));
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        }
    }
}
