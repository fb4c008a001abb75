//! What other servers say, made fit for one line of ours.

/// The longest piece of a server's own words that is repeated.
const LONGEST: usize = 300;

/// One readable line out of a server's words: no mark-up, control characters escaped, not endless, and no e-mail address
/// but one that is the login at hand.
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

/// Text without what stands between angle brackets, and with the five entities of XML put back.
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
