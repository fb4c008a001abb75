//! Further attributes of accounts. In Crowd an attribute has a name and any number of values; usersync writes one value
//! and reads the first.
//!
//! Crowd changes only the attributes that a call names, so the others need not be sent back.

use std::collections::BTreeMap;

use jiff::Timestamp;
use reqwest::Method;

use super::{
    CrowdTarget,
    errors::Right,
    wire::{AttributesWrite, User},
};
use crate::targets::{
    TargetError,
    rest::{Ask, after_part, unsupported},
};

/// Maximum length of a name and of a value, in characters: the column width in the tables of Crowd and Jira.
const LONGEST: usize = 255;
/// Attributes that Crowd writes itself, in lower case.
const OWN: [&str; 6] = [
    "autogroupsadded",
    "invalidpasswordattempts",
    "lastactive",
    "lastauthenticated",
    "passwordlastchanged",
    "requirespasswordchange",
];
/// Prefixes of the attributes that Jira writes itself (`login.currentFailedCount`), in lower case.
const JIRAS_OWN: [&str; 2] = ["login.", "password.reset."];

/// Checks whether accounts can have a further attribute of this name; the error says why not.
pub(super) fn check(name: &str) -> Result<(), String> {
    if name.trim().is_empty() {
        return Err("an attribute in Crowd needs a name".to_owned());
    }
    if name.trim() != name || name.contains(char::is_control) {
        let why = "it contains a control character, or begins or ends with a space";
        return Err(format!("{name:?} is not a valid attribute name in Crowd: {why}"));
    }
    if name.chars().count() > LONGEST {
        return Err(format!("{name} is longer than {LONGEST} characters, the maximum for an attribute name in Crowd"));
    }
    let lower = name.to_lowercase();
    if OWN.contains(&lower.as_str()) || JIRAS_OWN.iter().any(|family| lower.starts_with(family)) {
        return Err(format!(
            "{name} is reserved for what Crowd or Jira records about passwords and sign-ins; remove it"
        ));
    }
    Ok(())
}

impl User {
    /// Returns the first value of an attribute, or an empty text if it has none. `None`: this answer does not include
    /// attributes.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        let reported = self.attributes.as_ref()?.get("attributes")?.as_array()?;
        let found = reported.iter().find(|one| one["name"] == name);
        Some(found.and_then(|one| one["values"][0].as_str()).unwrap_or_default())
    }
}

impl CrowdTarget {
    /// Extends a call that reads a user to return the attributes, if any are configured.
    pub(super) fn expanded<'a>(&self, ask: Ask<'a>) -> Ask<'a> {
        if self.settings.attributes.is_empty() { ask } else { ask.query("expand", "attributes") }
    }

    /// Writes those of the wanted attributes that differ on a user that was just read. Returns whether anything was
    /// sent. Skips values that are too long and attributes that the policy did not name when this client was created.
    pub(super) async fn write_attributes(
        &self,
        what: &str,
        user: &User,
        wanted: &BTreeMap<String, String>,
        deadline: Timestamp,
    ) -> Result<bool, TargetError> {
        let login = user.name.as_deref().unwrap_or_default();
        let (cleared, given): (Vec<_>, Vec<_>) = wanted
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .filter(|(name, value)| {
                self.settings.attributes.contains(*name) && !is_long(value) && user.attribute(name) != Some(value)
            })
            .partition(|(_, value)| value.is_empty());
        let ask = |method| {
            let ask = Ask::new(method, "/user/attribute", what).query("username", login);
            ask.login(login).deadline(Some(deadline))
        };
        let mut sent = false;
        if !given.is_empty() {
            let ask = ask(Method::POST).json(&AttributesWrite::of(&given))?;
            self.send_attributes(&ask, user).await?;
            sent = true;
        }
        for (name, _) in cleared {
            let ask = ask(Method::DELETE).query("attributename", name);
            self.send_attributes(&ask, user).await.map_err(|why| after_part(what, sent, why))?;
            sent = true;
        }
        Ok(sent)
    }

    async fn send_attributes(&self, ask: &Ask<'_>, user: &User) -> Result<(), TargetError> {
        let answer = self.rest.ask(ask).await?;
        if answer.status.is_success() {
            return Ok(());
        }
        let right = Right { name: "Modify user attributes", directory: user.directory_name.as_deref() };
        Err(self.refused_write(ask, &answer, &right))
    }

    /// Checks whether Crowd kept the attributes that it accepted, on a user that was read afterwards. An attribute that
    /// is not shown is assumed to be kept.
    pub(super) fn check_attributes(
        &self,
        what: &str,
        now: &User,
        wanted: &BTreeMap<String, String>,
    ) -> Result<(), TargetError> {
        let kept = |name: &str, value: &str| now.attribute(name).is_none_or(|reported| reported == value);
        let ours = wanted.iter().filter(|(name, value)| self.settings.attributes.contains(*name) && !is_long(value));
        let other: Vec<&str> = ours.filter(|(name, value)| !kept(name, value)).map(|(name, _)| name.as_str()).collect();
        if other.is_empty() {
            return Ok(());
        }
        Err(unsupported(format!(
            "{what}: Crowd accepted the change but stored a different {}. Change it manually there, or map it in the \
             policy to the stored value.",
            other.join(" and ")
        )))
    }
}

/// Whether a value is longer than Crowd can store.
fn is_long(value: &str) -> bool {
    value.chars().count() > LONGEST
}

/// Reports values that are too long for Crowd, after everything else is written.
pub(super) fn refuse_long(what: &str, wanted: &BTreeMap<String, String>) -> Result<(), TargetError> {
    let long: Vec<&str> = wanted.iter().filter(|(_, value)| is_long(value)).map(|(name, _)| name.as_str()).collect();
    if long.is_empty() {
        return Ok(());
    }
    Err(unsupported(format!(
        "{what}: the value of {} is longer than the {LONGEST} characters that Crowd stores. Shorten it in the \
         policy's template, for example with attributes.NAME[:{LONGEST}].",
        long.join(" and ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_any_text_but_what_crowd_notes_itself() {
        for name in ["title", "cost centre", "Größe", "a.b/c&d+e", "loginCount", "last active", &"x".repeat(LONGEST)]
        {
            assert_eq!(check(name), Ok(()), "{name}");
        }
        for (name, why) in [
            ("", "needs a name"),
            ("  ", "needs a name"),
            ("a\nb", "\"a\\nb\" is not a valid attribute name"),
            (" title", "begins or ends with a space"),
            ("lastAuthenticated", "lastAuthenticated is reserved for what Crowd or Jira records about passwords"),
            ("LASTACTIVE", "remove it"),
            ("requiresPasswordChange", "remove it"),
            ("login.currentFailedCount", "remove it"),
            (&"x".repeat(LONGEST + 1), "longer than 255 characters"),
        ] {
            let reported = check(name).expect_err(name);
            assert!(reported.contains(why), "{reported}");
        }
    }

    #[test]
    fn what_is_told_is_told_apart_from_what_is_not() {
        let user = |text: &str| serde_json::from_str::<User>(text).expect("JSON");
        for untold in ["{}", r#"{"attributes": null}"#, r#"{"attributes": {"link": {}}}"#, r#"{"attributes": "x"}"#] {
            assert_eq!(user(untold).attribute("room"), None, "{untold}");
        }
        let reported = r#"{"attributes": {"attributes": [{"name": "Room", "values": ["1"]}, {"name": "room", "values": ["2", "3"]},
            {"name": "none", "values": []}, {"name": "odd", "values": [7]}, {}]}}"#;
        for (name, value) in [("room", "2"), ("Room", "1"), ("none", ""), ("odd", ""), ("absent", "")] {
            assert_eq!(user(reported).attribute(name), Some(value), "{name}");
        }
    }
}
