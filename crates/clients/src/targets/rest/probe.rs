//! Lines of a first contact that are the same for every product.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::fold;
use crate::{
    model::TargetGroupId,
    targets::{
        Note, NoteState,
        http::{Answer, http_date},
    },
};

/// Maximum clock difference that is not reported, in seconds. Tokens and deadlines depend on the clock.
const CLOCK_SECONDS: f64 = 5.0;

/// A product's version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The major version.
    pub major: u32,
    /// The minor version.
    pub minor: u32,
    /// The version as the server reports it.
    pub text: String,
}

impl Version {
    /// Parses `10.3.5` or `9.12.0-m02`; `None` if the text is not a version.
    pub fn read(text: &str) -> Option<Self> {
        let mut numbers = text.split(['.', '-']).map_while(|part| part.parse().ok());
        Some(Self { major: numbers.next()?, minor: numbers.next().unwrap_or(0), text: text.to_owned() })
    }

    /// Whether this is the given version or a later one.
    pub fn at_least(&self, major: u32, minor: u32) -> bool {
        (self.major, self.minor) >= (major, minor)
    }
}

/// Returns the groups that grant access to the product, except those from which usersync may remove any member.
pub fn access_groups(
    found: impl IntoIterator<Item = (String, String)>,
    managed: &[String],
) -> BTreeMap<TargetGroupId, String> {
    let managed: Vec<String> = managed.iter().map(|name| fold(name)).collect();
    let found = found.into_iter().filter(|(name, _)| !managed.contains(&fold(name)));
    found.map(|(name, how)| (TargetGroupId::from(fold(&name)), how)).collect()
}

/// Returns the line of `usersync check` about access groups.
pub fn access_note(groups: &BTreeMap<TargetGroupId, String>) -> Option<Note> {
    let reported: Vec<String> = groups.iter().map(|(group, how)| format!("{group} ({how})")).collect();
    (!reported.is_empty()).then(|| {
        let text = format!(
            "{}: only members that usersync added are removed, unless managed_access_groups names the group",
            reported.join(", ")
        );
        note(NoteState::Note, "access groups", text)
    })
}

/// Returns the note for products that cannot rename groups.
pub fn group_rename_note() -> Note {
    let text = "rename a group: the group is recreated; permissions of the old group are not copied";
    note(NoteState::Note, "cannot", text)
}

/// Returns the note on the licence's free seats; `of` continues the phrase, for example ` of 2000`. `needed`: whether
/// new accounts take one of these seats.
pub fn seats_note(free: u64, of: &str, needed: bool) -> Note {
    if free == 0 && needed {
        let text = format!("0 free{of}: no account can be created or activated. Free some.");
        return note(NoteState::No, "seats", text);
    }
    note(NoteState::Note, "seats", format!("{} free{of}", thin(i64::try_from(free).unwrap_or(i64::MAX))))
}

/// Creates one line of `usersync check`.
pub fn note(state: NoteState, about: &str, text: impl Into<String>) -> Note {
    Note { state, about: about.to_owned(), text: text.into() }
}

/// Reports the response time of the server.
pub fn round_trip_note(answer: &Answer) -> Note {
    note(NoteState::Ok, "round trip", format!("{} ms", answer.took.as_millis().max(1)))
}

/// Reports the difference between the server's clock and the local clock, right after an answer.
pub fn clock_note(answer: &Answer) -> Option<Note> {
    let theirs = http_date(answer.header("date")?)?;
    // The header has whole seconds, so the middle of the second is the best estimate.
    let apart = (Timestamp::now().duration_since(theirs).as_secs_f64() - 0.5).abs();
    Some(if apart > CLOCK_SECONDS {
        note(NoteState::Note, "clock", format!("{apart:.0} s apart; synchronise both clocks with NTP"))
    } else {
        note(NoteState::Ok, "clock", format!("{apart:.1} s apart"))
    })
}

/// Formats a number with thin spaces between the thousands.
pub fn thin(number: i64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{2009}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        let at_least = |text, major, minor| Version::read(text).is_some_and(|version| version.at_least(major, minor));
        assert!(at_least("10.3.5", 8, 3));
        assert!(at_least("8.20.30", 8, 3));
        assert!(!at_least("8.2.6", 8, 3));
        assert!(at_least("9.12.0-m02", 9, 12));
        assert!(Version::read("unknown").is_none());
    }

    #[test]
    fn thousands_are_told_apart() {
        assert_eq!(thin(0), "0");
        assert_eq!(thin(48), "48");
        assert_eq!(thin(2000), "2\u{2009}000");
        assert_eq!(thin(1_234_567), "1\u{2009}234\u{2009}567");
    }
}
