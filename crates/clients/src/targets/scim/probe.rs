//! First contact: identity and capabilities of the server, and the lines for `usersync check`.

use std::sync::atomic::Ordering;

use reqwest::StatusCode;

use super::{
    ScimTarget,
    attributes::Declared,
    discovery::Service,
    forms::Shown,
    memberships::MAX_GROUPS_READ,
    profile::{Names, Profile},
    wire::{Kind, List, Resource},
};
use crate::{
    model::{ErrorClass, TargetIdentity},
    targets::{
        Capabilities, Deactivation, Note, NoteState, ProtectedGroups, Target, TargetError, TargetInfo,
        http::Answer,
        rest::{Ask, clock_note, fold, note, round_trip_note, thin},
    },
};

/// Maximum length of a login, as in Keycloak.
const LOGIN_MAX: usize = 255;
/// Maximum length of a group name. Names built from whole paths are long; SCIM has no limit.
const GROUP_MAX: usize = 1000;

/// Returns what a server of this profile supports.
pub(super) fn expected(profile: &Profile) -> Capabilities {
    Capabilities {
        keeps_external_id: true,
        finds_by_email: true,
        finds_by_attribute: true,
        attributes: true,
        email_required: profile.email_required,
        login_case: profile.login_case,
        group_case: profile.group_case,
        login_max: LOGIN_MAX,
        group_max: GROUP_MAX,
        ..Capabilities::base()
    }
}

impl ScimTarget {
    /// Signs in and reads everything that the engine and `usersync check` need.
    pub(super) async fn first_contact(&self) -> Result<TargetInfo, TargetError> {
        let service = self.fresh_service().await?;
        let info = self.describe(&service).await?;
        // PATCH may be supported since the last contact, so its refusals are forgotten.
        for no_patch in &self.learned.no_patch {
            no_patch.store(false, Ordering::Relaxed);
        }
        Ok(info)
    }

    async fn describe(&self, service: &Service) -> Result<TargetInfo, TargetError> {
        let (total, shown, answer) = self.count_accounts(service).await?;
        let blind = shown == 0 && total.is_some_and(|total| total > 0);
        let mut notes = Vec::new();
        notes.push(match total {
            Some(total) if blind => note(
                NoteState::No,
                "rights",
                format!(
                    "the server counts {} accounts but returns none, so usersync may lack permission to read them. \
                     Grant it permission to read and write users and groups there.",
                    thin(i64::try_from(total).unwrap_or(i64::MAX))
                ),
            ),
            Some(total) => note(
                NoteState::Ok,
                "rights",
                format!(
                    "reads accounts ({}); whether it may write shows with the first write",
                    thin(i64::try_from(total).unwrap_or(i64::MAX))
                ),
            ),
            None => note(NoteState::Ok, "rights", "reads accounts; whether it may write shows with the first write"),
        });
        notes.push(self.profile_note(service.proposed));
        if !service.missing_documents.is_empty() {
            let text = format!(
                "the server does not return {}; usersync assumes the defaults",
                service.missing_documents.join(", ")
            );
            notes.push(note(NoteState::Note, "discovery", text));
        }
        notes.extend(self.second_page_note(service, total).await?);
        notes.push(note(NoteState::Ok, "ways", self.ways(service)));
        notes.extend(self.limits(service));
        notes.extend(self.attribute_notes(service));
        let mut protected_groups = ProtectedGroups::default();
        notes.extend(self.protection_notes(blind, &mut protected_groups).await?);
        notes.extend(self.members_note(service).await?);
        notes.extend(self.observed());
        notes.extend(clock_note(&answer));
        notes.push(round_trip_note(&answer));

        Ok(TargetInfo {
            identity: TargetIdentity::new(self.rest.address(), None),
            product: service.profile.product.to_owned(),
            // SCIM does not report the signed-in account; the settings contain a login only for Basic authentication.
            signed_in_as: self.rest.auth.name(),
            capabilities: Capabilities {
                update: service.profile.update,
                rename: service.rename,
                deactivate: if service.deactivate { Deactivation::Switch } else { Deactivation::Never },
                rename_group: self.renames_groups(service),
                groups_at_once: self.bulk(service).map_or(1, |bulk| bulk.most),
                email_required: service.email_required,
                protected_groups,
                ..expected(&service.profile)
            },
            notes,
        })
    }

    /// Returns the number of accounts, if the server reports it, and how many of the first few it returned.
    async fn count_accounts(&self, service: &Service) -> Result<(Option<usize>, usize, Answer), TargetError> {
        let ask = Ask::get(service.users.as_str(), "connecting").query("startIndex", "1").query("count", "1");
        let answer = self.rest.ask(&ask).await?;
        if !answer.status.is_success() {
            let mut error = self.rest.unexpected(&ask, &answer);
            if answer.status == StatusCode::NOT_FOUND && error.class() == ErrorClass::Unconfirmed {
                error.text.extend(service.profile.absent.iter().flat_map(|hint| [" ", hint]));
            }
            return Err(error);
        }
        let body: Resource = self.rest.parse(&ask, &answer)?;
        let list = List::read(body).ok_or_else(|| self.rest.unreadable(&ask, "it is not a list"))?;
        Ok((list.total, list.items.len(), answer))
    }

    /// Checks whether the server returns a second page. Otherwise users beyond the first page are invisible.
    async fn second_page_note(&self, service: &Service, total: Option<usize>) -> Result<Option<Note>, TargetError> {
        let Some(total) = total.filter(|total| *total > 1 && !service.cursor) else { return Ok(None) };
        let start = total.to_string();
        let ask = Ask::get(service.users.as_str(), "connecting").query("startIndex", &start).query("count", "1");
        let answer = self.rest.ask(&ask).await?;
        if answer.status.is_success() {
            return Ok(None);
        }
        let text = format!(
            "the server refuses pages beyond the first ({}){}; a list is complete only if its first page holds all",
            answer.status.as_u16(),
            self.rest.said(&answer, None).quoted()
        );
        Ok(Some(note(NoteState::Note, "pages", text)))
    }

    /// Checks whether members are shown, by reads of some groups if no member has been seen.
    async fn members_note(&self, service: &Service) -> Result<Option<Note>, TargetError> {
        let Some(path) = service.groups.as_deref().filter(|_| !service.profile.on_request) else { return Ok(None) };
        if self.learned.members_shown() != Shown::Unknown || self.learned.accounts_show_groups.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let slice = self.slice(path, "connecting", &[], None, None).await?;
        let some = slice.items.iter().filter_map(Resource::id).take(MAX_GROUPS_READ);
        for id in some {
            self.read_members(&id.into(), "connecting", false, None).await?;
            if self.learned.members_shown() != Shown::Unknown {
                return Ok(None);
            }
        }
        let text = "no group shows members. If groups have members, let the server return them. To test this, run: \
                    usersync check --write-test";
        Ok((!slice.items.is_empty()).then(|| note(NoteState::Note, "members", text)))
    }

    fn profile_note(&self, proposed: Option<&str>) -> Note {
        let name = self.profile.name;
        if let (false, Some(proposed)) =
            (self.settings.profile.is_some(), proposed.filter(|proposed| *proposed != name))
        {
            let text = format!(
                "{name}, detected from the address, but the server's own description matches {proposed}: set profile \
                 = \"{proposed}\", or \"{name}\" if this is right"
            );
            return note(NoteState::No, "profile", text);
        }
        let text = match (self.settings.profile.is_some(), name) {
            (true, _) => format!("{name}, as configured"),
            (false, "generic") => {
                "generic, because the address matches no known server; set profile to override".to_owned()
            }
            (false, _) => format!("{name}, detected from the address; set profile to override"),
        };
        let otherwise = match self.settings.habits.said().as_slice() {
            [] => String::new(),
            habits => format!("; changed by habits: {}", habits.join(", ")),
        };
        note(NoteState::Note, "profile", text + &otherwise)
    }

    /// Describes how usersync works with the server.
    fn ways(&self, service: &Service) -> String {
        let change = if self.patches(service, Kind::User) {
            "changes by PATCH"
        } else {
            "changes by replacing the whole resource (PUT)"
        };
        let filter =
            if service.filter { "looks up by filter" } else { "looks up by listing all, because it has no filters" };
        let pages = if service.cursor { "by cursor" } else { "by position" };
        let versions = if service.etag { ", with versions (ETag)" } else { "" };
        format!("{change}, {filter}, lists {} at once {pages}{versions}", service.page)
    }

    /// Whether groups can be renamed and keep their members.
    fn renames_groups(&self, service: &Service) -> bool {
        service.groups.is_some() && service.rename_group && self.patches(service, Kind::Group)
    }

    /// Lists unsupported operations and unusual behaviour.
    fn limits(&self, service: &Service) -> Vec<Note> {
        let mut notes = Vec::new();
        let mut cannot = |text: &str| notes.push(note(NoteState::Note, "cannot", text));
        if service.groups.is_some() && !self.renames_groups(service) {
            cannot("rename a group: the group is recreated; permissions of the old group are not copied");
        }
        if !service.rename {
            cannot("rename a login: it is read-only there; rename it manually");
        }
        if !service.deactivate {
            cannot("deactivate: active is read-only there; deactivate manually, or choose to delete (leavers)");
        }
        if service.groups.is_none() {
            cannot("groups: this server has none; exclude them in the policy");
        }
        if !service.profile.update {
            cannot("change names and addresses of accounts; change them there");
        }
        if let Some(deletion) = service.profile.deletion {
            notes.push(note(NoteState::Note, "deleting", deletion));
        }
        notes
    }

    /// Reports which of the further attributes the server's schemas have.
    fn attribute_notes(&self, service: &Service) -> Vec<Note> {
        let (mut fine, mut notes) = (Vec::new(), Vec::new());
        for (path, declared) in self.attributes.iter().zip(&service.declared) {
            let why = match declared {
                Declared::Text | Declared::Truth | Declared::Number | Declared::Untold => {
                    fine.push(path.text.as_str());
                    continue;
                }
                Declared::Unknown => "the server's schemas do not have it, so it will probably not be stored",
                Declared::ReadOnly => "it is read-only there",
                Declared::Several => {
                    "it has several values there; specify which, as phoneNumbers[type eq \
                                      \"work\"].value"
                }
            };
            let text = format!("{}: {why}. Correct the policy's attributes for this target.", path.text);
            notes.push(note(NoteState::No, "attributes", text));
        }
        let parts: Vec<&str> =
            self.attributes.iter().filter(|path| path.is_part_of_name()).map(|path| path.text.as_str()).collect();
        if let ([only], Names::Split | Names::Both) = (parts.as_slice(), service.profile.names) {
            let text =
                format!("{only}: the display name is stored in name.givenName and name.familyName; set both of them");
            notes.push(note(NoteState::No, "attributes", text));
        }
        if !fine.is_empty() {
            notes.push(note(NoteState::Ok, "attributes", format!("{}: written by the policy", fine.join(", "))));
        }
        notes
    }

    async fn protection_notes(
        &self,
        blind: bool,
        protected_groups: &mut ProtectedGroups,
    ) -> Result<Vec<Note>, TargetError> {
        let mut notes = Vec::new();
        if self.named_groups().next().is_none() && self.settings.protection.protected_users.is_empty() {
            let text = "none: SCIM does not identify administrators. Name them in frozen_groups and protected_users, \
                        and with them usersync's own account, if it has one there.";
            notes.push(note(NoteState::Note, "protected", text));
            return Ok(notes);
        }
        if blind {
            return Ok(notes);
        }
        let known = self.fresh_protection().await?;
        *protected_groups = known.protected_groups();
        for (setting, name) in self.named_groups() {
            let found = self.groups_named(name, fold, None).await?;
            if found.is_empty() {
                let text = format!("{name} of {setting} is not a group of this server");
                notes.push(note(NoteState::No, "protected", text));
            }
            if let Some(why) = known.group(name) {
                let ids = found.iter().filter_map(Resource::id);
                protected_groups.by_id.extend(ids.map(|id| (id.into(), why.clone())));
            }
        }
        let users = (!self.settings.protection.protected_users.is_empty())
            .then(|| format!("{}: never changed", self.settings.protection.protected_users.join(", ")));
        let text = known.reported().into_iter().chain(users).collect::<Vec<_>>().join("; ");
        notes.push(note(NoteState::Ok, "protected", text));
        Ok(notes)
    }

    /// Returns the groups that settings name, each with its setting.
    fn named_groups(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let frozen = self.settings.protection.frozen_groups.iter().map(|name| ("frozen_groups", name.as_str()));
        frozen.chain(self.settings.protection.protected_groups.iter().map(|name| ("protected_groups", name.as_str())))
    }
}
