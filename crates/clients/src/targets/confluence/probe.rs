//! First contact: the server's identity, its capabilities, and the notes for `usersync check`.

use jiff::Timestamp;
use reqwest::{Method, StatusCode, header::ALLOW};

use super::{
    ConfluenceTarget,
    settings::ADMINISTRATORS,
    wire::{GlobalPermission, Seats, ServerInformation, path_segment},
};
use crate::{
    model::{ErrorClass, TargetIdentity},
    targets::{
        Capabilities, CaseRule, Note, NoteState, ProtectedGroups, TargetError, TargetInfo,
        http::Answer,
        rest::{
            Ask, Protection, Version, access_groups, access_note, atlassian, clock_note, group_rename_note, not_done,
            note, round_trip_note, seats_note, segment,
        },
    },
};

/// Characters that logins cannot contain: those that Confluence forbids, and a slash, which its paths cannot carry.
/// Control characters are forbidden everywhere.
const LOGIN_FORBIDS: &str = "\\/,+<>'\" \u{85}\u{a0}\u{1680}\u{2000}\u{2001}\u{2002}\u{2003}\u{2004}\u{2005}\u{2006}\
                             \u{2007}\u{2008}\u{2009}\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}";
/// Characters that group names cannot contain, since the names are part of paths.
const GROUP_FORBIDS: &str = "/\\";

/// Administrator permission of usersync, as far as Confluence reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rights {
    Administrator,
    Missing,
    Unknown,
}

/// How names and e-mail addresses are updated on this server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Update {
    Rest,
    Rpc,
    No,
}

/// The server's identity, as it reports it.
struct Server {
    id: Option<String>,
    version: Option<Version>,
    /// From the manifest.
    url: Option<String>,
    /// Reported by Confluence 10 and later.
    base_url: Option<String>,
}

impl Server {
    fn version_text(&self) -> &str {
        self.version.as_ref().map_or("of unknown version", |version| &version.text)
    }

    fn at_least(&self, major: u32, minor: u32) -> bool {
        self.version.as_ref().is_some_and(|version| version.at_least(major, minor))
    }
}

impl ConfluenceTarget {
    /// Signs in and reads everything that the engine and `usersync check` need.
    pub(super) async fn first_contact(&self) -> Result<TargetInfo, TargetError> {
        let mut server = self.server().await?;
        let me = self.myself(None).await.map_err(|error| self.sign_in_trouble(error))?;
        let (answer, reported) = self.information().await?;
        server.base_url = reported.base_url;
        server.version = server.version.or_else(|| Version::read(reported.version.as_deref()?));
        if server.version.is_some() && !server.at_least(8, 5) {
            return Err(not_done(
                ErrorClass::Permanent,
                format!(
                    "connecting: this is Confluence {}; usersync requires 8.5 or later, because earlier versions \
                     cannot create users over REST. Update Confluence, or keep its users in a directory that it \
                     shares with Crowd or Jira.",
                    server.version_text()
                ),
            ));
        }
        let rights = self.rights(None).await?;
        let list_all = self.has_listing().await?;
        let update = self.way_to_update(&me.name, &server).await?;

        let mut notes = vec![rights_note(rights, &me.name)];
        if self.rest.auth.is_basic() {
            let text = "user and password; a personal access token is more durable and is not blocked by a CAPTCHA";
            notes.push(note(NoteState::Note, "sign-in", text));
        }
        notes.extend(cannot(&server, update, list_all, &self.settings.all_users_group));
        notes.extend(self.seats_note().await?);
        let mut protected_groups = ProtectedGroups::default();
        let mut giving = Vec::new();
        if rights != Rights::Missing {
            let known = self.fresh_protection().await?;
            notes.push(protected_note(&known));
            protected_groups = known.protected_groups();
            giving = self.own_access_groups(&known.own_id).await?;
        }
        giving.push((self.settings.all_users_group.clone(), "access to Confluence, by its default name".to_owned()));
        let access_groups = access_groups(giving, &self.settings.protection.managed_access_groups);
        notes.extend(access_note(&access_groups));
        notes.extend(clock_note(&answer));
        notes.push(round_trip_note(&answer));

        let address = server.base_url.clone().unwrap_or_else(|| self.rest.address());
        let id = server.id.clone().filter(|id| !id.is_empty());
        let id = id.unwrap_or_else(|| address.trim_end_matches('/').to_owned());
        Ok(TargetInfo {
            // Read from the same source before and after an update to 10.
            identity: TargetIdentity::new(id, server.url.as_deref().or(server.base_url.as_deref())),
            product: format!("Confluence Data Center {}", server.version_text()),
            signed_in_as: me.name,
            capabilities: Capabilities {
                access_groups,
                protected_groups,
                ..capabilities(update != Update::No, list_all)
            },
            notes,
        })
    }

    /// Identifies the server at the address, before any credentials are sent.
    async fn server(&self) -> Result<Server, TargetError> {
        let wrong = |text: String| not_done(ErrorClass::Permanent, format!("connecting: {text}"));
        let Some(manifest) = atlassian::manifest(&self.rest).await? else {
            return Ok(Server { id: None, version: None, url: None, base_url: None });
        };
        if let Some(kind) = manifest.type_id.as_deref().filter(|kind| *kind != "confluence") {
            return Err(wrong(format!("the server at this address is {kind}, not Confluence. Check url and kind.")));
        }
        let version = manifest.version.as_deref().and_then(Version::read);
        if version.as_ref().is_some_and(|version| version.major >= 1000) {
            return Err(wrong(
                "this is Confluence Cloud, which has a different API. Use a target of kind scim for it.".to_owned(),
            ));
        }
        Ok(Server { id: Some(manifest.id), version, url: manifest.url, base_url: None })
    }

    /// Reads the server information, available since 10. Before that, the answer still shows the server's clock.
    async fn information(&self) -> Result<(Answer, ServerInformation), TargetError> {
        let ask = Ask::get("/server-information", "connecting");
        let answer = self.rest.ask(&ask).await?;
        let reported = if answer.status.is_success() { serde_json::from_slice(&answer.body).ok() } else { None };
        Ok((answer, reported.unwrap_or_default()))
    }

    /// Whether `/user/list` exists.
    async fn has_listing(&self) -> Result<bool, TargetError> {
        let ask = Ask::get("/user/list", "checking whether Confluence lists all accounts").query("limit", "1");
        Ok(self.rest.ask(&ask).await?.status.is_success())
    }

    /// Finds out how names and e-mail addresses are updated here: by the methods that a user's URL allows. If the
    /// server does not report them, its version decides.
    async fn way_to_update(&self, own_login: &str, server: &Server) -> Result<Update, TargetError> {
        let what = "checking how to update users";
        let path = format!("/admin/user/{}", path_segment(what, own_login)?);
        let answer = self.rest.ask(&Ask::new(Method::OPTIONS, path, what).only_reads()).await?;
        let allowed = answer.header(ALLOW.as_str()).filter(|_| answer.status.is_success());
        let by_rest = allowed.map_or_else(
            || server.at_least(9, 4),
            |methods| methods.split(',').any(|method| method.trim().eq_ignore_ascii_case("PUT")),
        );
        if by_rest {
            return Ok(Update::Rest);
        }
        let by_rpc = self.user_by_rpc(own_login, None).await?.is_some();
        Ok(if by_rpc { Update::Rpc } else { Update::No })
    }

    /// Whether usersync is an administrator. No call reports it directly. usersync's groups decide first, then reads
    /// that only administrators may make.
    pub(super) async fn rights(&self, deadline: Option<Timestamp>) -> Result<Rights, TargetError> {
        let what = "reading usersync's own permissions";
        let me = self.myself(deadline).await?;
        if let (_, true) = self.marked_groups(me.id.as_str(), deadline).await? {
            return Ok(Rights::Administrator);
        }
        let group = segment(ADMINISTRATORS);
        for (path, proves) in [
            ("/admin/users/list/active".to_owned(), false),
            (format!("/group/{group}/member"), false),
            (format!("/permissions/group/{group}"), true),
        ] {
            let mut ask = Ask::get(path, what).deadline(deadline);
            if !proves {
                ask = ask.query("limit", "1");
            }
            let answer = self.rest.ask(&ask).await?;
            match answer.status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Ok(Rights::Missing),
                status if status.is_success() && proves => return Ok(Rights::Administrator),
                _ => {}
            }
        }
        Ok(Rights::Unknown)
    }

    /// Returns the number of free seats in the licence; `None`: unlimited, or not readable for usersync.
    pub(super) async fn seats_left(&self) -> Result<Option<u64>, TargetError> {
        let ask = Ask::get("/license/remainingSeats", "reading the licence").below("/rest/license/1.0");
        let answer = self.rest.ask(&ask).await?;
        if !answer.status.is_success() {
            return Ok(None);
        }
        // An unknown format only loses the number.
        Ok(serde_json::from_slice::<Seats>(&answer.body).ok().and_then(|seats| seats.free()))
    }

    async fn seats_note(&self) -> Result<Option<Note>, TargetError> {
        Ok(self.seats_left().await?.map(|free| seats_note(free, "", true)))
    }

    /// Returns those of usersync's own groups that have the global permission to use Confluence; only Confluence 10
    /// shows it. No call lists all such groups, but every account with access is a member of one.
    async fn own_access_groups(&self, own_id: &str) -> Result<Vec<(String, String)>, TargetError> {
        let own = self.groups_of(own_id, "reading usersync's own groups", None).await?.unwrap_or_default();
        let mut giving = Vec::new();
        for group in own {
            match self.permissions_of(group.as_str(), None).await? {
                Some(permissions) if permissions.iter().any(GlobalPermission::gives_access) => {
                    giving.push((group.to_string(), "access to Confluence, by its permission".to_owned()));
                }
                Some(_) => {}
                // A Confluence that does not report on this group reports on none.
                None => break,
            }
        }
        Ok(giving)
    }

    /// Explains a refused sign-in in Confluence's terms.
    fn sign_in_trouble(&self, mut error: TargetError) -> TargetError {
        if error.class() == ErrorClass::Forbidden {
            error.text = format!(
                "connecting: Confluence answered 403. The user of {} has no access to Confluence. Grant it access \
                 (group {}), and make it an administrator (group {ADMINISTRATORS}).",
                self.rest.auth.whose(),
                self.settings.all_users_group
            );
        }
        error
    }
}

fn rights_note(rights: Rights, me: &str) -> Note {
    match rights {
        Rights::Administrator => note(NoteState::Ok, "rights", "administrator"),
        Rights::Missing => note(
            NoteState::No,
            "rights",
            format!(
                "{me} is not a Confluence Administrator, so nothing can be written. Add it to \
                 confluence-administrators."
            ),
        ),
        Rights::Unknown => note(
            NoteState::Note,
            "rights",
            format!(
                "this Confluence does not report whether {me} is a Confluence Administrator; if it is not, add it to \
                 confluence-administrators"
            ),
        ),
    }
}

/// Returns the note on what is never changed, for `usersync check`.
fn protected_note(known: &Protection) -> Note {
    let text = format!(
        "{}. usersync recognizes other groups with administrator rights only when it reads them; name them in \
         frozen_groups.",
        known.reported().unwrap_or_default()
    );
    note(NoteState::Ok, "protected", text)
}

/// Returns notes on what this Confluence does not support, each with what an operator can do.
fn cannot(server: &Server, update: Update, list_all: bool, all_users_group: &str) -> Vec<Note> {
    let version = server.version_text();
    let mut notes = Vec::new();
    let mut add = |text: String| notes.push(note(NoteState::Note, "cannot", text));
    add("rename a login: rename it manually in User management, or keep the users in a directory that Confluence \
         shares with Crowd or Jira's user server and rename there"
        .to_owned());
    add("read e-mail addresses, so usersync does not detect changes made to them in Confluence".to_owned());
    add("nest groups: nested groups in Confluence are not changed".to_owned());
    match update {
        Update::Rest => {}
        Update::Rpc => add(format!(
            "update names and e-mail addresses over REST (Confluence {version}; 9.4 or later can); its JSON-RPC is on \
             and is used instead, which requires secure administrator sessions to be off"
        )),
        Update::No => add(format!(
            "update names and e-mail addresses: Confluence {version} cannot do this over REST (9.4 or later can), and \
             its remote API is off. Turn it on (General configuration > Remote API (XML-RPC & SOAP)) or update \
             Confluence."
        )),
    }
    if !list_all {
        add(format!(
            "list all users: Confluence {version} has no listing (8.8 and later have one); only members of \
             {all_users_group} are listed, and others are found by login"
        ));
    }
    notes.push(group_rename_note());
    notes
}

/// Returns what every Confluence supports.
pub(super) fn expected() -> Capabilities {
    capabilities(true, true)
}

fn capabilities(update: bool, list_all: bool) -> Capabilities {
    Capabilities {
        list_all,
        update,
        rename: false,
        email_required: true,
        reads_email: false,
        login_case: CaseRule::Lower,
        // Confluence's page on groups: "Group names must be lower case".
        group_case: CaseRule::Lower,
        login_forbids: LOGIN_FORBIDS.chars().collect(),
        group_forbids: GROUP_FORBIDS.chars().collect(),
        ..Capabilities::base()
    }
}
