//! First contact: the server's identity, its capabilities, and the notes for `usersync check`.

use jiff::Timestamp;
use reqwest::StatusCode;

use super::{
    BitbucketTarget,
    permissions::administers,
    protection::Known,
    wire::{CompleteUser, Directories, Licence, Properties},
};
use crate::{
    model::{ErrorClass, TargetIdentity},
    targets::{
        Capabilities, Deactivation, Note, NoteState, TargetError, TargetInfo,
        http::Answer,
        rest::{
            Ask, Version, access_groups, access_note, atlassian, clock_note, fold, group_rename_note, not_done, note,
            round_trip_note, seats_note, thin,
        },
    },
};

/// Maximum number of groups in one call. Bitbucket documents no limit; a larger call would take too long.
const GROUPS_AT_ONCE: usize = 100;

/// Returns what every Bitbucket supports.
pub(super) fn expected() -> Capabilities {
    Capabilities {
        deactivate: Deactivation::Access,
        groups_at_once: GROUPS_AT_ONCE,
        email_required: true,
        finds_by_email: true,
        ..Capabilities::base()
    }
}

impl BitbucketTarget {
    /// Reads the server's version. Bitbucket returns it without credentials, but some proxies require them.
    async fn version(&self) -> Result<(Version, Answer), TargetError> {
        let what = "connecting";
        let path = "/application-properties";
        let mut ask = Ask::get(path, what).anonymous();
        let mut answer = self.rest.ask(&ask).await;
        let closed = match &answer {
            Ok(answer) => matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN),
            Err(error) => error.class() == ErrorClass::Credentials,
        };
        if closed {
            ask = Ask::get(path, what);
            answer = self.rest.ask(&ask).await;
        }
        let answer = answer?;
        if !answer.status.is_success() {
            return Err(self.rest.unexpected(&ask, &answer));
        }
        let reported: Properties = self.rest.parse(&ask, &answer)?;
        let version = reported.version.as_deref().and_then(Version::read).ok_or_else(|| {
            let text =
                "the server answers, but does not report its Bitbucket version. Check the address and its path prefix.";
            not_done(ErrorClass::Permanent, format!("{what}: {text}"))
        })?;
        Ok((version, answer))
    }

    /// Signs in and reads everything that the engine and `usersync check` need.
    pub(super) async fn first_contact(&self) -> Result<TargetInfo, TargetError> {
        let (version, answer) = self.version().await?;
        let me = self.myself(None).await?;
        let known = match self.fresh_known().await {
            Ok(known) => Some(known),
            Err(error) if error.class() == ErrorClass::Forbidden => None,
            Err(error) => return Err(error),
        };
        let mut notes = vec![match &known {
            Some(known) => self.rights_note(&me, known).await?,
            None => note(
                NoteState::No,
                "rights",
                format!(
                    "{} lacks the global permission ADMIN, so nothing can be written. Grant it: Administration > \
                     Global permissions.",
                    me.name
                ),
            ),
        }];
        if !version.at_least(8, 0) {
            let text =
                format!("this is Bitbucket {}; usersync supports 8 to 10, so check its plans carefully", version.text);
            notes.push(note(NoteState::Note, "version", text));
        }
        if let Some(known) = &known {
            notes.extend(access_notes(known, self.settings.default_group));
        }
        notes.push(group_rename_note());
        let licence = self.licence(None).await?;
        notes.extend(licence.as_ref().map(licence_note));
        if let Some(known) = &known {
            let reported = known.protection.reported();
            let text = reported.unwrap_or_else(|| "administrators: never changed, nor their members".to_owned());
            notes.push(note(NoteState::Ok, "protected", text));
            notes.extend(self.directory_notes().await?);
        }
        notes.extend(clock_note(&answer));
        notes.push(round_trip_note(&answer));

        let permitted = known.iter().flat_map(|known| known.grants.groups.values());
        let permitted = permitted.map(|(name, permission)| (name.clone(), format!("licence through {permission}")));
        let access_groups = access_groups(permitted, &self.settings.protection.managed_access_groups);
        notes.extend(access_note(&access_groups));
        let manifest = atlassian::manifest(&self.rest).await?;
        let base_url = manifest.as_ref().and_then(|manifest| manifest.url.as_deref());
        let server_id = licence.and_then(|licence| licence.status?.server_id).filter(|id| !id.trim().is_empty());
        Ok(TargetInfo {
            identity: TargetIdentity::new(server_id.unwrap_or_else(|| self.rest.address()), base_url),
            product: format!("Bitbucket Data Center {}", version.text),
            signed_in_as: me.name,
            capabilities: Capabilities {
                list_all: known.is_some(),
                access_groups,
                protected_groups: known.as_ref().map(|known| known.protection.protected_groups()).unwrap_or_default(),
                ..expected()
            },
            notes,
        })
    }

    /// Returns a note on usersync's own permission, granted directly or through a group.
    async fn rights_note(&self, me: &CompleteUser, known: &Known) -> Result<Note, TargetError> {
        let groups = self.groups_of(me, None).await?;
        let by_group = groups.iter().filter_map(|name| known.grants.groups.get(&fold(name)));
        let mut all = by_group.map(|(_, permission)| permission).chain(known.grants.users.get(&me.id));
        let system = all.any(|permission| permission == "SYS_ADMIN");
        let text =
            if system { "SYS_ADMIN" } else { "ADMIN; accounts and groups of system administrators cannot be changed" };
        Ok(note(NoteState::Ok, "rights", text))
    }

    /// Reads the licence; `None` if there is none, or if usersync lacks the permission to read it.
    async fn licence(&self, deadline: Option<Timestamp>) -> Result<Option<Licence>, TargetError> {
        let ask = Ask::get("/admin/license", "reading the licence").deadline(deadline);
        let answer = self.rest.ask(&ask).await?;
        match answer.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => self.rest.parse(&ask, &answer).map(Some),
            _ => Err(self.rest.unexpected(&ask, &answer)),
        }
    }

    /// Returns the number of free seats in the licence; `None`: unlimited, or not readable for usersync.
    pub(super) async fn seats_left(&self, deadline: Option<Timestamp>) -> Result<Option<u64>, TargetError> {
        Ok(self.licence(deadline).await?.as_ref().and_then(Licence::free))
    }

    /// Returns notes on the user directories. Only single accounts show whether their directory is read-only.
    async fn directory_notes(&self) -> Result<Vec<Note>, TargetError> {
        let ask = Ask::get("/admin/user-directories", "reading the user directories").query("includeInactive", "true");
        let answer = self.rest.ask(&ask).await?;
        if matches!(answer.status.as_u16(), 401 | 403..=405) {
            return Ok(Vec::new());
        }
        if !answer.status.is_success() {
            return Err(self.rest.unexpected(&ask, &answer));
        }
        // An unknown format only loses these notes.
        let Ok(all) = serde_json::from_slice::<Directories>(&answer.body) else { return Ok(Vec::new()) };
        let each = all.all().into_iter().filter_map(|one| {
            let (name, kind) = (one.name?, one.kind.unwrap_or_default());
            let internal = kind.to_lowercase().contains("internal") || name == "Bitbucket Internal Directory";
            let text = match (internal, one.active) {
                (true, Some(false)) => format!("{name} is disabled, so no account can be created. Enable it."),
                (false, Some(false)) => format!("{name} ({kind}) is disabled"),
                (true, _) => name,
                (false, _) => format!(
                    "{name} ({kind}) is managed outside Bitbucket; changes that Bitbucket cannot make in it are \
                     unsupported, and are reported for each account"
                ),
            };
            let state = match (internal, one.active) {
                (true, Some(false)) => NoteState::No,
                (true, _) => NoteState::Ok,
                (false, _) => NoteState::Note,
            };
            Some(note(state, "directory", text))
        });
        Ok(each.collect())
    }
}

/// Returns notes on how accounts gain and lose access.
fn access_notes(known: &Known, default_group: bool) -> Vec<Note> {
    let groups = known.grants.groups.values().filter(|(_, permission)| !administers(permission));
    let mut groups: Vec<_> = groups.map(|(name, _)| name.as_str()).collect();
    groups.sort_unstable();
    let mut notes = vec![note(
        NoteState::Note,
        "deactivate",
        "Bitbucket cannot deactivate accounts; usersync revokes the groups and the permission that let the user sign \
         in. usersync records them first and restores them on activation",
    )];
    notes.push(if groups.is_empty() {
        let text = "only administrators' groups have a global permission, so new accounts cannot sign in. Grant \
                    LICENSED_USER to a group: Administration > Global permissions.";
        note(NoteState::No, "access", text)
    } else {
        let given = if default_group { "" } else { "; new accounts are not added to them automatically" };
        note(NoteState::Ok, "access", format!("through {}{given}", groups.join(", ")))
    });
    notes
}

fn licence_note(licence: &Licence) -> Note {
    match (licence.free(), licence.seats()) {
        (Some(free), Some(all)) => seats_note(free, &format!(" of {}", thin(all)), true),
        (None, Some(all)) => note(
            NoteState::Note,
            "seats",
            format!("{} in total; Bitbucket does not report how many are free", thin(all)),
        ),
        (_, None) => note(NoteState::Note, "seats", "unlimited"),
    }
}
