//! Formats numbers, times and counts for the operator.

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use textwrap::{Options, WordSeparator, WordSplitter};

/// Formats a number with thin spaces between its thousands.
pub(super) fn thin(number: impl TryInto<i64>) -> String {
    let number = number.try_into().unwrap_or(i64::MAX);
    let digits = number.unsigned_abs().to_string();
    let mut text = String::from(if number < 0 { "−" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{2009}');
        }
        text.push(digit);
    }
    text
}

/// Formats a number with its noun: `1 user`, `2 users`, `0 users`.
pub(super) fn count(number: impl TryInto<i64>, one: &str, many: &str) -> String {
    let number = number.try_into().unwrap_or(i64::MAX);
    format!("{} {}", thin(number), if number == 1 { one } else { many })
}

/// Returns a text with exactly one punctuation mark at its end.
pub(super) fn sentence(text: &str) -> String {
    let text = text.trim_end();
    if text.ends_with(['.', '!', '?', ':']) { text.to_owned() } else { format!("{text}.") }
}

/// Formats a span in its most useful unit: `3 s`, `38 min`, `5 h`, `3 days`.
pub(super) fn span(span: SignedDuration) -> String {
    let seconds = span.unsigned_abs().as_secs();
    match seconds {
        0..90 => format!("{seconds} s"),
        90..5_400 => format!("{} min", (seconds + 30) / 60),
        5_400..172_800 => format!("{} h", (seconds + 1_800) / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Formats a duration: `41 ms`, `5.1 s`, `12 min`.
pub(super) fn took(span_of: SignedDuration) -> String {
    match span_of.as_millis() {
        millis @ ..1_000 => format!("{} ms", millis.max(0)),
        1_000..90_000 => format!("{:.1} s", span_of.as_secs_f64()),
        _ => span(span_of),
    }
}

/// Formats a size: `512 B`, `34.1 kB`, `1.2 MB`.
pub(super) fn bytes(bytes: u64) -> String {
    let (mut size, mut unit) = (bytes, "B");
    let mut tenths = 0;
    for larger in ["kB", "MB", "GB", "TB"] {
        if size < 1_000 {
            break;
        }
        (tenths, size, unit) = (size % 1_000 / 100, size / 1_000, larger);
    }
    if unit == "B" || size >= 100 { format!("{size} {unit}") } else { format!("{size}.{tenths} {unit}") }
}

/// Formats a time relative to now: `3 s ago`, `in 38 min`.
pub(super) fn ago(time: Timestamp, now: Timestamp) -> String {
    let since = now.duration_since(time);
    if since.is_negative() { format!("in {}", span(since)) } else { format!("{} ago", span(since)) }
}

/// Formats the exact time in the operator's time zone; the date is omitted if it is today.
pub(super) fn exact(time: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    let (at, today) = (time.to_zoned(zone.clone()), now.to_zoned(zone.clone()));
    let form = if at.date() == today.date() { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" };
    at.strftime(form).to_string()
}

/// Formats a time with its distance to now: `14:00:03 (3 s ago)`.
pub(super) fn when(time: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    format!("{} ({})", exact(time, now, zone), ago(time, now))
}

/// Breaks a text into lines of at most `width` columns; longer words stay whole.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    lines(text, at_spaces(width))
}

/// Breaks a text into lines of at most `width` columns; those after the first begin with `indent` spaces. Longer words
/// and leading spaces stay as they are.
pub(super) fn hang(text: &str, width: usize, indent: usize) -> Vec<String> {
    // A line break in a text from elsewhere is a control character like others, and shown as one.
    let text = &text.replace('\n', "\\n");
    let text_of = text.trim_start_matches(' ');
    let (leading, indent) = (&text[..text.len() - text_of.len()], " ".repeat(indent));
    lines(text_of, at_spaces(width).initial_indent(leading).subsequent_indent(&indent))
}

fn at_spaces<'a>(width: usize) -> Options<'a> {
    Options::new(width)
        .break_words(false)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
}

fn lines(text: &str, options: Options<'_>) -> Vec<String> {
    textwrap::wrap(text, options).into_iter().map(Cow::into_owned).collect()
}

/// Lists the first `most` names, and how many of `all` are not listed.
pub(super) fn some<'a>(names: impl Iterator<Item = &'a str>, most: usize, all: usize) -> String {
    let shown: Vec<&str> = names.take(most).collect();
    match all.saturating_sub(shown.len()) {
        _ if shown.is_empty() => String::new(),
        0 => shown.join(", "),
        more => format!("{} and {} more", shown.join(", "), thin(more)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_counts() {
        assert_eq!(thin(0), "0");
        assert_eq!(thin(10_412), "10\u{2009}412");
        assert_eq!(thin(-1_234), "−1\u{2009}234");
        assert_eq!(thin(u64::MAX), thin(i64::MAX));
        assert_eq!(count(1, "user", "users"), "1 user");
        assert_eq!(count(0, "user", "users"), "0 users");
    }

    #[test]
    fn sizes_have_their_unit() {
        let sizes = [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (34_149, "34.1 kB"), (120_999, "120 kB")];
        for (size, shown) in sizes.into_iter().chain([(1_250_000, "1.2 MB"), (7_000_000_000, "7.0 GB")]) {
            assert_eq!(bytes(size), shown);
        }
    }

    #[test]
    fn a_sentence_ends_once() {
        assert_eq!(sentence("it is down"), "it is down.");
        assert_eq!(sentence("it is down. "), "it is down.");
        assert_eq!(sentence("is it?"), "is it?");
    }

    #[test]
    fn spans_and_times() {
        for (seconds, text) in
            [(0, "0 s"), (89, "89 s"), (90, "2 min"), (5_399, "90 min"), (7_200, "2 h"), (172_800, "2 days")]
        {
            assert_eq!(span(SignedDuration::from_secs(seconds)), text);
        }
        let now: Timestamp = "2026-10-02T12:00:00Z".parse().unwrap();
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        assert_eq!(when("2026-10-02T11:59:57Z".parse().unwrap(), now, &zone), "13:59:57 (3 s ago)");
        assert_eq!(when("2026-10-02T12:38:00Z".parse().unwrap(), now, &zone), "14:38:00 (in 38 min)");
        assert_eq!(exact("2026-10-01T21:59:59Z".parse().unwrap(), now, &zone), "2026-10-01 23:59:59");
        assert_eq!(took(SignedDuration::from_millis(41)), "41 ms");
        assert_eq!(took(SignedDuration::from_millis(5_100)), "5.1 s");
    }

    #[test]
    fn texts_are_broken_between_words() {
        assert_eq!(wrap("a bb ccc", 4), ["a bb", "ccc"]);
        assert_eq!(wrap("abcdefgh i", 3), ["abcdefgh", "i"]);
        assert_eq!(wrap("", 3), [""]);
    }

    #[test]
    fn what_is_broken_hangs_below_its_beginning() {
        assert_eq!(hang("  in scope   42 of 42 users", 16, 4), ["  in scope   42", "    of 42 users"]);
        assert_eq!(hang("fits", 16, 4), ["fits"]);
        assert_eq!(hang("averyveryverylongword and more", 10, 2), ["averyveryverylongword", "  and more"]);
        assert_eq!(hang("", 10, 2), [""]);
        assert_eq!(hang("x\nok  everything", 20, 2), ["x\\nok  everything"]);
    }

    #[test]
    fn names_are_cut_off_with_their_number() {
        assert_eq!(some(["a", "b", "c"].into_iter(), 3, 3), "a, b, c");
        assert_eq!(some(["a", "b", "c"].into_iter(), 2, 3), "a, b and 1 more");
        assert_eq!(some([].into_iter(), 2, 3), "");
    }
}
