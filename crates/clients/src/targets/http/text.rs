//! Cleaning of server messages for one-line output.

/// Maximum length of a quoted server message.
const LONGEST: usize = 300;

/// Cleans a server message to one readable line: no markup, control characters escaped, limited length. E-mail
/// addresses are removed unless they are the given login.
pub fn tidy(said: &str, login: Option<&str>) -> String {
    let mut line = String::new();
    for word in strip_tags(said).split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        if line.len() + word.len() > LONGEST {
            line.push('…');
            break;
        }
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        let is_login = login.is_some_and(|login| login.eq_ignore_ascii_case(bare));
        if bare.contains('@') && !is_login {
            line.push_str("(address)");
        } else {
            for c in word.chars() {
                if c.is_control() { line.extend(c.escape_unicode()) } else { line.push(c) }
            }
        }
    }
    line
}

/// Removes text between angle brackets and decodes the five entities of XML.
fn strip_tags(said: &str) -> String {
    let mut text = String::with_capacity(said.len());
    let mut inside = false;
    for c in said.chars() {
        match c {
            '<' => inside = true,
            '>' if inside => {
                inside = false;
                text.push(' ');
            }
            _ if inside => {}
            _ => text.push(c),
        }
    }
    for (entity, plain) in [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")] {
        if text.contains(entity) {
            text = text.replace(entity, plain);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_server_become_one_clean_line() {
        assert_eq!(tidy("  a\n\tb  ", None), "a b");
        assert_eq!(tidy("<p>leads <a href=\"/x\">Marketing</a></p>", None), "leads Marketing");
        assert_eq!(tidy("R&amp;D &lt;3", None), "R&D <3");
        assert_eq!(tidy("a\u{1b}[31mb \u{0} c", None), "a\\u{1b}[31mb \\u{0} c");
        assert_eq!(tidy("'a@b.example' is taken", None), "(address) is taken");
        assert_eq!(tidy("'a@b.example' is taken", Some("A@b.example")), "'a@b.example' is taken");
        assert!(tidy(&"word ".repeat(1000), None).len() < LONGEST + 10);
        assert!(tidy(&"x".repeat(1000), None).chars().count() < 3);
    }
}
