//! The realm checks of `usersync check`: one line for each requirement.

use std::{collections::BTreeSet, time::Instant};

use serde::Deserialize;

use super::{
    KeycloakSource, Source as _, SourceError,
    fault::Asked,
    realm_settings::{ADMIN_EXPIRY, DIRECTORY_EVENTS, LISTENER, span},
    token::Token,
    wire::{EventsConfig, Group, User},
};
use crate::{
    model::{ErrorClass, OrganizationName, RoleName},
    targets::{Note, NoteState},
};

/// Largest clock difference, in seconds, at which signatures and schedules work.
const CLOCKS_APART: u64 = 60;

/// Expiry of user events, in seconds, below which the check adds a note. An hourly run finds what is lost in less time.
const SHORTEST_EXPIRY: i64 = 24 * 60 * 60;

/// The result of checking a realm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// The base URL that answered; `None` if none did.
    pub base_url: Option<String>,
    /// Keycloak's version; `None` if the client may not see it.
    pub version: Option<String>,
    /// The report's lines.
    pub notes: Vec<Note>,
}

impl Diagnosis {
    fn say(&mut self, state: NoteState, about: &str, text: impl Into<String>) {
        self.notes.push(Note { state, about: about.to_owned(), text: text.into() });
    }
}

impl KeycloakSource {
    /// Checks every requirement and every recommendation, and whether these roles and organizations of the policy can be
    /// read. Changes nothing.
    pub async fn diagnose(&self, roles: &BTreeSet<RoleName>, organizations: &BTreeSet<OrganizationName>) -> Diagnosis {
        let mut found = Diagnosis { base_url: None, version: None, notes: Vec::new() };
        match self.base().await {
            Ok(base) => found.base_url = Some(base.to_string()),
            Err(error) => {
                found.say(NoteState::No, "reached", error.text);
                return found;
            }
        }
        let token = match self.token(None).await {
            Ok(token) => token,
            Err(error) => {
                found.say(NoteState::No, "sign-in", error.text);
                return found;
            }
        };
        self.version(&mut found).await;
        self.sign_in(&mut found, &token);
        let blind = token.claims.is_blind(&self.names.rights_client);
        self.users(&mut found, blind).await;
        self.group_lines(&mut found, blind).await;
        if !roles.is_empty() {
            self.role_lines(&mut found, roles).await;
        }
        if !organizations.is_empty() {
            self.organization_lines(&mut found, organizations).await;
        }
        self.rights(&mut found, &token, !organizations.is_empty());
        self.events(&mut found).await;
        Self::clock(&mut found, &token);
        found
    }

    /// Reads Keycloak's version. Only administrators may see it, so a missing version is not a fault.
    async fn version(&self, found: &mut Diagnosis) {
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct Info {
            system_info: System,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct System {
            version: Option<String>,
        }
        let Ok(base) = self.base().await else { return };
        let within = self.settings.connection.time_outs.call;
        if let Ok(answer) = self.fetch(&base.server_info(), &[], within).await
            && let Ok(info) = self.read::<Info>(Asked::Server, base, &answer)
        {
            found.version = info.system_info.version;
        }
        let version = found.version.as_deref().map_or(String::new(), |version| format!(" {version}"));
        found.say(NoteState::Ok, "reached", format!("Keycloak{version} at {base}, realm {}", self.settings.realm));
    }

    fn sign_in(&self, found: &mut Diagnosis, token: &Token) {
        let (client, realm) = (&self.settings.client_id, self.settings.token_realm());
        if token.claims.iss.is_none() || token.claims.sub.is_none() {
            let text =
                format!("client {client}: its token has no iss and sub claims. Add the scope \"basic\" to the client");
            return found.say(NoteState::No, "sign-in", text);
        }
        let of = if realm == self.settings.realm { String::new() } else { format!(" of realm {realm}") };
        let text = format!("client {client}{of}, service account, token lifetime {}", span(token.life.as_secs()));
        found.say(NoteState::Ok, "sign-in", text);
    }

    async fn users(&self, found: &mut Diagnosis, blind: bool) {
        let began = Instant::now();
        let page = self
            .page::<User>(Asked::Users, &["users"], &[("briefRepresentation", "false")], (0, self.settings.page), None)
            .await;
        let took = began.elapsed().as_millis();
        let count = self.user_count().await;
        match (page.map(Option::unwrap_or_default), count) {
            (Err(error), _) | (_, Err(error)) => found.say(NoteState::No, "read users", error.text),
            (Ok(page), Ok(count)) if page.is_empty() && (count > 0 || blind) => {
                found.say(NoteState::No, "read users", self.empty("users", count));
            }
            (Ok(_), Ok(0)) => found.say(NoteState::Note, "read users", "the realm has no users"),
            (Ok(_), Ok(count)) => {
                let users = crate::model::count(thousands(count), "user", "users");
                found.say(NoteState::Ok, "read users", format!("{users}, first page in {took} ms"));
            }
        }
    }

    async fn group_lines(&self, found: &mut Diagnosis, blind: bool) {
        let page =
            self.page::<Group>(Asked::Groups, &["groups"], &[("briefRepresentation", "true")], (0, 1), None).await;
        let count = self.group_count().await.map(Option::unwrap_or_default);
        match (page.map(Option::unwrap_or_default), count) {
            (Err(error), _) | (_, Err(error)) => found.say(NoteState::No, "read groups", error.text),
            (Ok(page), Ok(count)) if page.is_empty() && (count > 0 || blind) => {
                found.say(NoteState::No, "read groups", self.empty("groups", count));
            }
            (Ok(_), Ok(0)) => found.say(NoteState::Note, "read groups", "the realm has no groups"),
            (Ok(_), Ok(count)) => {
                let groups = crate::model::count(thousands(count), "group", "groups");
                found.say(NoteState::Ok, "read groups", groups);
            }
        }
    }

    async fn role_lines(&self, found: &mut Diagnosis, roles: &BTreeSet<RoleName>) {
        match self.absent_roles(roles).await {
            Err(error) => found.say(NoteState::No, "read roles", error.text),
            Ok(absent) if absent.is_empty() => {
                let roles = crate::model::count(roles.len(), "role", "roles");
                found.say(NoteState::Ok, "read roles", format!("{roles} of the policy"));
            }
            Ok(absent) => absent.into_iter().for_each(|why| found.say(NoteState::No, "read roles", why)),
        }
    }

    async fn organization_lines(&self, found: &mut Diagnosis, organizations: &BTreeSet<OrganizationName>) {
        const ABOUT: &str = "organizations";
        match self.unreadable_organizations(organizations).await {
            Err(error) => found.say(NoteState::No, ABOUT, error.text),
            Ok(absent) if absent.is_empty() => {
                let organizations = crate::model::count(organizations.len(), "organization", "organizations");
                found.say(NoteState::Ok, ABOUT, format!("{organizations} of the policy, with their members"));
            }
            Ok(absent) => absent.into_iter().for_each(|why| found.say(NoteState::No, ABOUT, why)),
        }
    }

    fn empty(&self, what: &str, count: usize) -> String {
        format!(
            "Keycloak counts {} {what} but lists none: role view-users is missing. {}",
            thousands(count),
            self.give("view-users")
        )
    }

    fn give(&self, role: &str) -> String {
        format!("Grant it: usersync keycloak setup, or {} > {role}", self.names.rights_client)
    }

    fn rights(&self, found: &mut Diagnosis, token: &Token, reads_organizations: bool) {
        let has = |role: &str| token.claims.has(&self.names.rights_client, role);
        // Before Keycloak 26.7, no other role shows organizations.
        let manages_realm = reads_organizations && !has("view-organizations");
        let more: Vec<_> = ["realm-admin", "admin", "manage-users", "manage-realm", "manage-clients", "manage-events"]
            .into_iter()
            .filter(|role| has(role) && !(manages_realm && *role == "manage-realm"))
            .collect();
        if !more.is_empty() {
            let text = format!(
                "{} is more than usersync needs: it only reads. Remove it: realm {}, Clients, {}, Service account \
                 roles",
                more.join(", "),
                self.settings.token_realm(),
                self.settings.client_id
            );
            found.say(NoteState::Note, "rights", text);
        }
    }

    async fn events(&self, found: &mut Diagnosis) {
        let read = async {
            for below in ["admin-events", "events"] {
                let query = [("max", "1")];
                self.must::<Vec<serde::de::IgnoredAny>>(Asked::Events, &[below], &query).await?;
            }
            Ok::<_, SourceError>(())
        };
        match read.await {
            Ok(()) => found.say(NoteState::Ok, "read events", "admin and user events can be read"),
            Err(error) if error.class == ErrorClass::Forbidden => {
                let text = format!(
                    "role view-events is missing, so events cannot be polled: only the listener and the full reconcile \
                     find changes. {}",
                    self.give("view-events")
                );
                // The same role opens the settings, so nothing more can be checked.
                return found.say(NoteState::No, "read events", text);
            }
            Err(error) => found.say(NoteState::No, "read events", error.text),
        }
        match self.must::<EventsConfig>(Asked::Events, &["events", "config"], &[]).await {
            Ok(config) => {
                event_settings(found, &config);
                self.admin_expiry(found).await;
            }
            Err(error) => found.say(NoteState::No, "event settings", error.text),
        }
    }

    /// Checks the expiry of admin events. Only a client that may read the whole realm sees it; for others, it reports
    /// nothing.
    async fn admin_expiry(&self, found: &mut Diagnosis) {
        #[derive(Deserialize)]
        struct Realm {
            attributes: std::collections::BTreeMap<String, String>,
        }
        let Ok(realm) = self.must::<Realm>(Asked::Realm, &[], &[]).await else { return };
        match realm.attributes.get(ADMIN_EXPIRY).and_then(|text| text.parse::<u64>().ok()) {
            Some(seconds) if seconds > 0 => {
                found.say(NoteState::Ok, "expiry", format!("admin events are kept for {}", span(seconds)));
            }
            _ => {
                found.say(NoteState::Note, "expiry", "admin events have no expiry, so their table grows without limit");
            }
        }
    }

    /// Compares the clocks by the token's issue time: Keycloak's answers carry no date, and a proxy's date is the
    /// proxy's.
    fn clock(found: &mut Diagnosis, token: &Token) {
        let Some(ahead) = token.clock_ahead else {
            return found.say(
                NoteState::Note,
                "clock",
                "the token has no issue time, so the clocks cannot be compared",
            );
        };
        let apart = ahead.unsigned_abs();
        // The token's time is in whole seconds, so a difference of about one second is not significant.
        let text = if apart < 2 { "less than 2 s apart".to_owned() } else { format!("{apart} s apart") };
        if apart <= CLOCKS_APART {
            found.say(NoteState::Ok, "clock", text);
        } else {
            let who = if ahead.is_positive() { "Keycloak's is ahead" } else { "Keycloak's is behind" };
            found.say(
                NoteState::No,
                "clock",
                format!("{text}: {who}. Synchronize both with a time server, or signed events are refused"),
            );
        }
    }
}

fn event_settings(found: &mut Diagnosis, config: &EventsConfig) {
    const SETUP: &str = "Turn it on: usersync keycloak setup, or Realm settings, Events";
    match (config.admin_events_enabled, config.admin_events_details_enabled) {
        (true, true) => found.say(NoteState::Ok, "admin events", "kept, with details"),
        (true, false) => found.say(
            NoteState::No,
            "admin events",
            format!(
                "kept without details, so created and moved sub-groups are only found by the full reconcile. \
                     {SETUP}"
            ),
        ),
        (false, _) => found.say(
            NoteState::No,
            "admin events",
            format!(
                "not kept, so they cannot be polled: only the listener and the full reconcile find changes. {SETUP}"
            ),
        ),
    }
    let missing: Vec<_> = DIRECTORY_EVENTS
        .into_iter()
        .filter(|kind| !config.enabled_event_types.is_empty() && !config.enabled_event_types.iter().any(|e| e == kind))
        .collect();
    if !config.events_enabled {
        let text = format!(
            "not kept, so they cannot be polled: changes that users make themselves are only found by the listener and \
             the full reconcile. {SETUP}"
        );
        found.say(NoteState::No, "user events", text);
    } else if missing.is_empty() {
        found.say(NoteState::Ok, "user events", "kept");
    } else {
        found.say(NoteState::Note, "user events", format!("kept, but not {}. {SETUP}", missing.join(", ")));
    }
    if config.events_enabled {
        match config.events_expiration {
            Some(expiry) if expiry >= SHORTEST_EXPIRY => {
                found.say(NoteState::Ok, "expiry", format!("user events are kept for {}", span(expiry.unsigned_abs())));
            }
            Some(expiry) if expiry > 0 => found.say(
                NoteState::Note,
                "expiry",
                format!(
                    "user events are kept for {} only; a longer outage of usersync loses some. {SETUP}",
                    span(expiry.unsigned_abs())
                ),
            ),
            _ => found.say(
                NoteState::Note,
                "expiry",
                format!("user events have no expiry, so their table grows without limit. {SETUP}"),
            ),
        }
    }
    if config.events_listeners.iter().any(|id| id == LISTENER) {
        let text = "turned on in the realm. To test it, change any user, or run: usersync keycloak test-event";
        found.say(NoteState::Wait, "listener", text);
    } else {
        let text = "not turned on in the realm, so changes are only found by the full reconcile. Install the \
                    provider, then: usersync keycloak setup";
        found.say(NoteState::Note, "listener", text);
    }
}

/// Formats a number with thin spaces: `10 412`.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 * 3);
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
    fn numbers_and_spans_are_written_for_people() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(10_412), "10\u{2009}412");
        assert_eq!(thousands(1_000_000), "1\u{2009}000\u{2009}000");
        for (seconds, text) in
            [(60, "1 min"), (300, "5 min"), (90, "90 s"), (7200, "2 h"), (86_400, "1 day"), (604_800, "7 days")]
        {
            assert_eq!(span(seconds), text);
        }
    }

    #[test]
    fn event_settings_are_told_with_what_to_do() {
        let lines = |config: &EventsConfig| {
            let mut found = Diagnosis { base_url: None, version: None, notes: Vec::new() };
            event_settings(&mut found, config);
            found.notes.into_iter().map(|note| (note.about, note.state)).collect::<Vec<_>>()
        };
        let line = |about: &str, state| (about.to_owned(), state);
        assert_eq!(
            lines(&EventsConfig::default()),
            [
                line("admin events", NoteState::No),
                line("user events", NoteState::No),
                line("listener", NoteState::Note),
            ]
        );
        let good = EventsConfig {
            events_enabled: true,
            events_expiration: Some(604_800),
            events_listeners: vec!["jboss-logging".into(), LISTENER.into()],
            enabled_event_types: DIRECTORY_EVENTS.map(str::to_owned).to_vec(),
            admin_events_enabled: true,
            admin_events_details_enabled: true,
        };
        assert_eq!(
            lines(&good),
            [
                line("admin events", NoteState::Ok),
                line("user events", NoteState::Ok),
                line("expiry", NoteState::Ok),
                line("listener", NoteState::Wait),
            ]
        );
        let weak = EventsConfig {
            admin_events_details_enabled: false,
            enabled_event_types: vec!["LOGIN".into()],
            events_expiration: Some(60),
            ..good
        };
        assert_eq!(
            lines(&weak)[..3],
            [
                line("admin events", NoteState::No),
                line("user events", NoteState::Note),
                line("expiry", NoteState::Note),
            ]
        );
    }
}
