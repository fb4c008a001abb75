//! First contact: identity and capabilities of the server, and the lines for `usersync check`.

use super::{
    CrowdTarget,
    errors::VERSION,
    settings::ACCESS_GROUPS,
    wire::{Groups, User, Users},
};
use crate::{
    model::{ErrorClass, TargetIdentity},
    targets::{
        Capabilities, Note, NoteState, TargetError, TargetInfo,
        http::Answer,
        rest::{
            Ask, access_groups, access_note, atlassian, clock_note, group_rename_note, not_done, note, round_trip_note,
        },
    },
};

/// Number of accounts read to find out whether they have keys.
const SAMPLE: &str = "20";
/// The first version that supports renames.
const RENAMES: [u32; 3] = [2, 8, 4];

/// Whether a version supports renames.
fn renames(version: &str) -> bool {
    let numbers: Vec<u32> = version.split(['.', '-']).map_while(|part| part.parse().ok()).collect();
    numbers.as_slice() >= RENAMES.as_slice()
}

/// Returns what every Crowd supports.
pub(super) fn expected() -> Capabilities {
    Capabilities { attributes: true, finds_by_email: true, ..Capabilities::base() }
}

impl CrowdTarget {
    /// Signs in and reads everything that the engine and `usersync check` need.
    pub(super) async fn first_contact(&self) -> Result<TargetInfo, TargetError> {
        let (version, answer, sample) = self.reach().await?;
        let clock = clock_note(&answer);
        let manifest = atlassian::manifest(&self.rest).await?;
        self.read_groups().await?;
        let mut notes = vec![
            note(NoteState::Ok, "rights", "read users and groups"),
            note(
                NoteState::Note,
                "rights",
                "Crowd does not report write permissions or read-only directories. They show when a write is refused. \
                 usersync requires Add, Modify and Remove, for users and groups (Crowd: Applications > its name > \
                 Directories)",
            ),
        ];
        let keys = sample.is_empty() || sample.iter().any(|user| user.key.is_some());
        let rename = keys && renames(&version);
        if !rename {
            notes.push(why_not_rename(keys, &version));
        }
        let keyless = sample.iter().filter(|user| user.key.is_none()).count();
        if keys && keyless > 0 {
            let text = format!(
                "{keyless} of the first {} accounts have no key; usersync knows them only by login and cannot rename \
                 them",
                sample.len()
            );
            notes.push(note(NoteState::Note, "keys", text));
        }
        notes.push(group_rename_note());
        notes.push(note(NoteState::Note, "nested groups", "only direct members are read and written"));
        let known = self.fresh_protection().await?;
        let text = format!(
            "{}. Crowd does not report which groups grant administration. Name any others in frozen_groups",
            known.reported().unwrap_or_default()
        );
        notes.push(note(NoteState::Ok, "protected", text));
        let usual = ACCESS_GROUPS.map(|name| (name.to_owned(), "default name of a product's user group".to_owned()));
        let access_groups = access_groups(usual, &self.settings.protection.managed_access_groups);
        notes.extend(access_note(&access_groups));
        if !self.settings.attributes.is_empty() {
            let names: Vec<_> = self.settings.attributes.iter().map(String::as_str).collect();
            let text = format!(
                "{}: written by the policy; requires Crowd's separate permission Modify user attributes",
                names.join(", ")
            );
            notes.push(note(NoteState::Ok, "attributes", text));
        }
        notes.extend(clock);
        notes.push(round_trip_note(&answer));

        let jira = manifest.as_ref().filter(|manifest| manifest.type_id.as_deref() == Some("jira"));
        let product = match jira {
            Some(jira) => {
                let text = jira.version.as_ref().map_or_else(String::new, |version| format!(" {version}"));
                format!("Jira{text} user server, Crowd {version}")
            }
            None => format!("Crowd {version}"),
        };
        let base_url = manifest.as_ref().and_then(|manifest| manifest.url.clone());
        let identity = manifest.map(|manifest| manifest.id).filter(|id| !id.is_empty());
        Ok(TargetInfo {
            identity: TargetIdentity::new(identity.unwrap_or_else(|| self.rest.address()), base_url.as_deref()),
            product,
            signed_in_as: self.rest.who(),
            capabilities: Capabilities {
                rename,
                access_groups,
                protected_groups: known.protected_groups(),
                ..expected()
            },
            notes,
        })
    }

    /// Returns the version, the answer that contained it, and the first accounts.
    async fn reach(&self) -> Result<(String, Answer, Vec<User>), TargetError> {
        let ask = Ask::get("/search", "connecting")
            .query("entity-type", "user")
            .query("restriction", "")
            .query("start-index", "0")
            .query("max-results", SAMPLE)
            .query("expand", "user");
        let answer = self.rest.ask(&ask).await?;
        let version = answer.header(VERSION).map(|text| text.rsplit('/').next().unwrap_or(text).trim().to_owned());
        let Some(version) = version.filter(|version| !version.is_empty()) else {
            // A client address that is not allowed may be refused before Crowd itself answers.
            if answer.status == reqwest::StatusCode::FORBIDDEN {
                return Err(self.refused_read(&ask, &answer));
            }
            return Err(not_done(
                ErrorClass::Permanent,
                format!(
                    "connecting: {} answered {}, but not as Crowd does (no header X-Embedded-Crowd-Version). Set \
                     Crowd's base URL, usually https://host/crowd, or Jira's own for its user server. Check that no \
                     proxy removes the header.",
                    self.rest.address(),
                    answer.status.as_u16()
                ),
            ));
        };
        if !answer.status.is_success() {
            return Err(self.refused_read(&ask, &answer));
        }
        let page: Users = self.rest.parse(&ask, &answer)?;
        Ok((version, answer, page.users.into_iter().collect()))
    }

    /// Checks whether groups can be read.
    async fn read_groups(&self) -> Result<(), TargetError> {
        let ask = Ask::get("/search", "reading groups")
            .query("entity-type", "group")
            .query("restriction", "")
            .query("start-index", "0")
            .query("max-results", "1");
        let answer = self.rest.ask(&ask).await?;
        if !answer.status.is_success() {
            return Err(self.refused_read(&ask, &answer));
        }
        self.rest.parse::<Groups>(&ask, &answer).map(drop)
    }
}

fn why_not_rename(keys: bool, version: &str) -> Note {
    let why = if keys {
        format!("this is Crowd {version}; 2.8.4 or later can. Update Crowd, or rename manually")
    } else {
        "accounts have no key here, so usersync cannot identify them after a rename. Update Crowd, or rename \
         manually; the accounts then wait to be adopted: usersync approvals list"
            .to_owned()
    };
    note(NoteState::No, "cannot", format!("rename a login: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_2_8_4_and_later_rename() {
        assert!(["2.8.4", "2.9", "3.0.0", "10.1.0-m02", "7.1.3"].into_iter().all(renames));
        assert!(!["2.8.3", "2.8", "2.7.9", "unknown"].into_iter().any(renames));
    }
}
