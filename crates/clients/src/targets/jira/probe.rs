//! First contact: the server's identity, its capabilities, and the notes for `usersync check`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use reqwest::StatusCode;

use super::{
    JiraTarget,
    listing::SEARCH_CAP,
    wire::{ApplicationRole, BROWSE, DuplicatedCount, MyPermissions, ServerInfo},
};
use crate::{
    model::{ErrorClass, TargetGroupId, TargetIdentity},
    targets::{
        Capabilities, CaseRule, Note, NoteState, ProtectedGroups, TargetError, TargetInfo,
        http::Answer,
        rest::{
            Ask, Version, access_groups, access_note, atlassian, clock_note, group_rename_note, lenient::Entries,
            not_done, note, round_trip_note, seats_note, thin,
        },
    },
};

/// Returns the version that a Jira reports.
fn version_of(info: &ServerInfo) -> Option<Version> {
    let text = info.version.as_deref()?;
    let numbers = info.version_numbers.as_deref().unwrap_or_default();
    let spelled = numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(".");
    let version = Version::read(if spelled.is_empty() { text } else { &spelled })?;
    Some(Version { text: text.to_owned(), ..version })
}

/// Returns what every Jira supports.
pub(super) fn expected() -> Capabilities {
    Capabilities {
        email_required: true,
        anonymize: true,
        finds_by_email: true,
        // Lower-case logins stay the same whether or not a version preserves the case.
        login_case: CaseRule::Lower,
        login_forbids: vec!['<', '>', '&'],
        ..Capabilities::base()
    }
}

impl JiraTarget {
    /// Reads the version each time, since Jira may have been updated meanwhile.
    pub(super) async fn version(&self) -> Result<Version, TargetError> {
        Ok(self.server_info().await?.1)
    }

    /// Reads the server information. Jira returns it without credentials, but some proxies require them.
    async fn server_info(&self) -> Result<(ServerInfo, Version, Answer), TargetError> {
        let what = "connecting";
        let mut ask = Ask::get("/serverInfo", what).anonymous();
        let mut answer = self.rest.ask(&ask).await;
        let closed = match &answer {
            Ok(answer) => matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN),
            Err(error) => error.class() == ErrorClass::Credentials,
        };
        if closed {
            ask = Ask::get("/serverInfo", what);
            answer = self.rest.ask(&ask).await;
        }
        let answer = answer?;
        if !answer.status.is_success() {
            return Err(self.rest.unexpected(&ask, &answer));
        }
        let info: ServerInfo = self.rest.parse(&ask, &answer)?;
        let permanent = |text: &str| not_done(ErrorClass::Permanent, format!("{what}: {text}"));
        if info.deployment_type.as_deref() == Some("Cloud") {
            return Err(permanent("this is Jira Cloud, which has a different API. Use a target of kind scim for it."));
        }
        let version = version_of(&info).ok_or_else(|| {
            permanent(
                "the server answers, but does not report its Jira version. Check the address and its path \
                       prefix.",
            )
        })?;
        if !version.at_least(8, 3) {
            return Err(permanent(&format!(
                "this is Jira {}; usersync requires 8.3 or later, because earlier versions cannot deactivate over \
                 REST. Update Jira, or use a target of kind crowd on its user server.",
                version.text
            )));
        }
        Ok((info, version, answer))
    }

    /// Signs in and reads everything that the engine and `usersync check` need.
    pub(super) async fn first_contact(&self) -> Result<TargetInfo, TargetError> {
        let (info, version, answer) = self.server_info().await?;
        let clock = clock_note(&answer);
        let me = self.myself(None).await.map_err(|error| self.sign_in_trouble(error, &version))?;
        let rights = self.own_rights(None).await?;
        let system = rights.has("SYSTEM_ADMIN");
        let admin = system || rights.has("ADMINISTER");
        let lists = admin && self.has_listing().await?;
        // Before 10, the search pages through all users; 10.0 to 10.2 have neither.
        let list_all = admin && (lists || !version.at_least(10, 0));

        let mut notes = vec![rights_note(admin, system, &me.name)];
        notes.extend(browse_note(&rights, &me.name));
        notes.extend(self.sign_in_note(&version));
        // Where addresses are masked ("ada at example dot org") or hidden, usersync's own address is, too.
        let reads_email = me.email.is_some();
        if !reads_email {
            let text = "e-mail addresses are hidden or masked (General configuration > User email visibility), so \
                        usersync does not detect changes made to them in Jira";
            notes.push(note(NoteState::Note, "cannot", text));
        }
        notes.push(group_rename_note());
        if admin && !list_all {
            notes.push(note(
                NoteState::Note,
                "cannot",
                format!(
                    "list all users reliably: Jira {} truncates its search at {SEARCH_CAP} and has no listing; \
                     unlinked accounts are found only by login. Jira 10.3 (late) and 11 list them.",
                    version.text
                ),
            ));
        }
        notes.extend(self.seat_notes(admin).await?);
        let mut protected_groups = ProtectedGroups::default();
        if admin {
            let known = self.fresh_protection().await?;
            notes.extend(known.reported().map(|text| note(NoteState::Ok, "protected", text)));
            protected_groups = known.protected_groups();
            if let Some(incomplete) = &known.incomplete {
                let text = format!(
                    "{incomplete}. Other groups may grant administrator rights. Before usersync changes an account in \
                     such a group, it reads the group by name. If Jira does not report the group's rights, the \
                     account is not changed. Name the administrators' groups in frozen_groups, or raise the property \
                     jira.ajax.autocomplete.limit in Jira."
                );
                notes.push(note(NoteState::Note, "protected", text));
            }
        }
        notes.extend(self.new_lead_note().await?);
        let access_groups = self.access_groups().await?;
        notes.extend(access_note(&access_groups));
        notes.extend(self.duplicates_note().await?);
        notes.extend(clock);
        notes.push(round_trip_note(&answer));

        let base_url = info.base_url.as_deref();
        let address = base_url.map_or_else(|| self.rest.address(), |url| url.trim_end_matches('/').to_owned());
        let identity = match info.server_id {
            Some(id) => Some(id),
            None => atlassian::manifest(&self.rest).await?.map(|manifest| manifest.id),
        };
        let identity = identity.filter(|id| !id.is_empty());
        Ok(TargetInfo {
            identity: TargetIdentity::new(identity.unwrap_or(address), base_url),
            product: format!("Jira Data Center {}", version.text),
            signed_in_as: me.name,
            capabilities: Capabilities {
                list_all,
                anonymize: system && version.at_least(8, 7),
                reads_email,
                finds_by_email: reads_email,
                access_groups,
                protected_groups,
                ..expected()
            },
            notes,
        })
    }

    /// Reads usersync's own permissions.
    pub(super) async fn own_rights(&self, deadline: Option<Timestamp>) -> Result<MyPermissions, TargetError> {
        self.rest.read(&Ask::get("/mypermissions", "reading usersync's own permissions").deadline(deadline)).await
    }

    /// Whether `/user/list` exists.
    async fn has_listing(&self) -> Result<bool, TargetError> {
        let ask = Ask::get("/user/list", "checking whether Jira lists all accounts").query("maxResults", "1");
        Ok(self.rest.ask(&ask).await?.status.is_success())
    }

    /// Returns the number of free seats in the licence; `None`: unlimited, or not readable for usersync.
    pub(super) async fn seats_left(&self) -> Result<Option<u64>, TargetError> {
        let roles = self.roles().await?.unwrap_or_default();
        let counted = roles.iter().filter(|role| self.given(role)).filter_map(free);
        Ok(counted.min())
    }

    /// Reads the applications and their seats; `None` if usersync lacks the permission to read them.
    async fn roles(&self) -> Result<Option<Entries<ApplicationRole>>, TargetError> {
        let ask = Ask::get("/applicationrole", "reading the licence");
        let answer = self.rest.ask(&ask).await?;
        match answer.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => self.rest.parse(&ask, &answer).map(Some),
            _ => Err(self.rest.unexpected(&ask, &answer)),
        }
    }

    /// Returns the groups that grant access to any of the applications.
    async fn access_groups(&self) -> Result<BTreeMap<TargetGroupId, String>, TargetError> {
        let roles = self.roles().await?.unwrap_or_default();
        let groups = roles.into_iter().flat_map(|role| {
            let name = role.name.or(role.key).unwrap_or_else(|| "Jira".to_owned());
            let groups = role.groups.into_iter().chain(role.default_groups).flatten().collect::<Vec<_>>();
            groups.into_iter().map(move |group| (group, format!("application access to {name}")))
        });
        Ok(access_groups(groups, &self.settings.protection.managed_access_groups))
    }

    /// Whether new accounts get access to this application.
    fn given(&self, role: &ApplicationRole) -> bool {
        match &self.settings.applications {
            Some(chosen) => role.key.as_ref().is_some_and(|key| chosen.contains(key)),
            None => role.selected_by_default == Some(true),
        }
    }

    async fn seat_notes(&self, admin: bool) -> Result<Vec<Note>, TargetError> {
        let Some(roles) = self.roles().await? else {
            let text = "the licence cannot be read without the permission to administer Jira";
            return Ok(if admin { vec![note(NoteState::Note, "seats", text)] } else { Vec::new() });
        };
        let mut notes = Vec::new();
        for role in roles.iter().filter(|role| role.defined != Some(false)) {
            let name = role.name.as_deref().or(role.key.as_deref()).unwrap_or("Jira");
            let given = self.given(role);
            notes.push(match (free(role), role.number_of_seats) {
                (Some(free), Some(all)) => seats_note(free, &format!(" of {} in {name}", thin(all)), given),
                _ => note(NoteState::Note, "seats", format!("unlimited in {name}")),
            });
        }
        if let Some(chosen) = &self.settings.applications {
            for key in chosen.iter().filter(|key| !roles.iter().any(|role| role.key.as_ref() == Some(*key))) {
                let known: Vec<_> = roles.iter().filter_map(|role| role.key.as_deref()).collect();
                let text = format!("{key} is not an application of this Jira; it has {}", known.join(", "));
                notes.push(note(NoteState::No, "applications", text));
            }
        }
        Ok(notes)
    }

    async fn duplicates_note(&self) -> Result<Option<Note>, TargetError> {
        let ask = Ask::get("/user/duplicated/count", "counting duplicate accounts");
        let answer = self.rest.ask(&ask).await?;
        if !answer.status.is_success() {
            return Ok(None);
        }
        let reported: Option<DuplicatedCount> = serde_json::from_slice(&answer.body).ok();
        let count = reported.and_then(|reported| reported.count).filter(|count| *count > 0);
        Ok(count.map(|count| {
            let text = format!(
                "{count} logins are in several user directories; they are not changed. They are listed at \
                 /rest/api/2/user/duplicated/list; remove each from all but one."
            );
            note(NoteState::Note, "duplicates", text)
        }))
    }

    fn sign_in_note(&self, version: &Version) -> Option<Note> {
        let text = match (self.rest.auth.is_basic(), version.at_least(11, 0)) {
            (true, true) => "user and password; Jira 11 accepts them only if an administrator enabled them again",
            (true, false) => {
                "user and password; Jira 11 refuses them by default, a personal access token keeps \
                              working"
            }
            _ => return None,
        };
        Some(note(NoteState::Note, "sign-in", text))
    }

    /// Adds a hint about the Jira version to a refused sign-in.
    fn sign_in_trouble(&self, mut error: TargetError, version: &Version) -> TargetError {
        if error.class() == ErrorClass::Credentials {
            let text = match (self.rest.auth.is_basic(), version) {
                (true, version) if version.at_least(11, 0) => {
                    format!(" This is Jira {}, which takes only personal access tokens by default.", version.text)
                }
                (false, version) if !version.at_least(8, 14) => {
                    format!(
                        " This is Jira {}; personal access tokens require 8.14 or later. Use user and password.",
                        version.text
                    )
                }
                _ => String::new(),
            };
            error.text.push_str(&text);
        }
        error
    }
}

/// Returns the note about usersync's own rights.
fn rights_note(admin: bool, system: bool, login: &str) -> Note {
    match (admin, system) {
        (true, true) => note(NoteState::Ok, "rights", "system administrator"),
        (true, false) => {
            note(NoteState::Ok, "rights", "administrator; accounts of system administrators cannot be changed")
        }
        _ => note(
            NoteState::No,
            "rights",
            format!("{login} is not a Jira administrator, so nothing can be written. Add it to jira-administrators."),
        ),
    }
}

/// Returns a note if usersync lacks the permission to browse users.
fn browse_note(rights: &MyPermissions, me: &str) -> Option<Note> {
    rights.lacks_browse().then(|| {
        let text = format!(
            "{me} lacks the global permission \"{BROWSE}\", so Jira's group picker and user search return nothing. \
             Grant it to one of its groups (System > Global permissions)."
        );
        note(NoteState::No, "rights", text)
    })
}

/// Returns the free seats of an application; `None`: unlimited or not reported.
fn free(role: &ApplicationRole) -> Option<u64> {
    let counts = role.has_unlimited_seats != Some(true) && role.number_of_seats.is_some_and(|seats| seats >= 0);
    role.remaining_seats.filter(|_| counts).map(|seats| u64::try_from(seats).unwrap_or(0))
}
