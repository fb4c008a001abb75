//! Reads the events that Keycloak stores, in windows of time.
//!
//! Keycloak sorts events by time only, so pages by offset miss events of one millisecond. A page is therefore continued
//! by the time of its last event, and a page of only one millisecond is read as a whole.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::{
    EventPage, KeycloakSource, SourceError,
    base::Base,
    decode::{DecodeContext, Stored, decode_stored},
    fault::{self, Asked},
    http::Answer,
    realm_settings::{ADMIN_EXPIRY, DIRECTORY_EVENTS},
    wire::EventsConfig,
};
use crate::model::{ErrorClass, EventLog, EventMark, EventSettings, LogSettings, Uses};

/// Number of events in one page.
const PAGE: usize = 1000;

/// A realm, limited to its attributes; only a client with `view-realm` sees them.
#[derive(Deserialize)]
struct Realm {
    attributes: BTreeMap<String, String>,
}

impl KeycloakSource {
    /// Reads which events the realm stores.
    pub(super) async fn read_event_settings(&self) -> Result<EventSettings, SourceError> {
        let config: EventsConfig = self.must(Asked::Events, &["events", "config"], &[]).await?;
        let user_expiry = config.events_expiration.and_then(expiry);
        let user = LogSettings { stored: config.events_enabled, expiry: user_expiry.filter(|_| config.events_enabled) };
        let admin_expiry = if config.admin_events_enabled { self.read_admin_expiry().await? } else { None };
        let admin = LogSettings { stored: config.admin_events_enabled, expiry: admin_expiry };
        Ok(EventSettings { admin, user, details: config.admin_events_details_enabled })
    }

    /// Reads the expiry of admin events; `None`: never, or the client may not see it.
    async fn read_admin_expiry(&self) -> Result<Option<SignedDuration>, SourceError> {
        let base = self.base().await?;
        let url = base.admin(&self.settings.realm, &[]);
        let answer = self.fetch(&url, &[], self.settings.connection.time_outs.call).await?;
        let realm = serde_json::from_slice::<Realm>(&answer.body).ok().filter(|_| answer.status.is_success());
        let seconds = realm.and_then(|realm| realm.attributes.get(ADMIN_EXPIRY)?.parse().ok());
        Ok(seconds.and_then(expiry))
    }

    /// Returns the current time by Keycloak's clock, as measured when the token was issued, accurate to 2 s.
    pub(super) async fn keycloak_time(&self) -> Result<Timestamp, SourceError> {
        let ahead = self.token(None).await?.clock_ahead.unwrap_or(0);
        let now = Timestamp::now();
        Ok(now.saturating_add(SignedDuration::from_secs(ahead)).unwrap_or(now))
    }

    /// Reads the oldest events of a log since `from`, inclusive.
    pub(super) async fn read_stored_events(
        &self,
        log: EventLog,
        from: Timestamp,
        uses: Uses,
    ) -> Result<EventPage, SourceError> {
        let now = self.keycloak_time().await?;
        let context = DecodeContext { uses, ..DecodeContext::new(&self.settings.realm, now) };
        let from = from.as_millisecond();
        let page = self.event_page(log, (from, None), &context).await?;
        if !page.is_sorted_by_key(|stored| stored.millis) {
            return Err(self.too_old("the events are not sorted as requested"));
        }
        let last = page.last().map_or(from, |stored| stored.millis);
        if page.len() < PAGE {
            return Ok(EventPage { events: events(page), next: None });
        }
        if last > from {
            // More events of the last millisecond may follow; they are read with the next page.
            let whole = page.into_iter().filter(|stored| stored.millis < last).collect();
            return Ok(EventPage { events: events(whole), next: Timestamp::from_millisecond(last).ok() });
        }
        let whole = self.event_page(log, (from, Some(from)), &context).await?;
        Ok(EventPage { events: events(whole), next: Timestamp::from_millisecond(from.saturating_add(1)).ok() })
    }

    /// Returns whether an event is still stored. Only the events of its millisecond are read.
    pub(super) async fn find_stored_event(&self, log: EventLog, event: &EventMark) -> Result<bool, SourceError> {
        let context = DecodeContext::new(&self.settings.realm, event.at);
        let at = event.at.as_millisecond();
        let found = self.event_page(log, (at, Some(at)), &context).await?;
        Ok(found.iter().any(|stored| stored.event.id == event.id))
    }

    /// Reads the oldest events since `from`; with `to`, all events from `from` to `to`. Both are inclusive, in
    /// milliseconds.
    async fn event_page(
        &self,
        log: EventLog,
        (from, to): (i64, Option<i64>),
        context: &DecodeContext<'_>,
    ) -> Result<Vec<Stored>, SourceError> {
        let (from, to) = (from.to_string(), to.map(|to| to.to_string()));
        let max = if to.is_some() { "-1".to_owned() } else { PAGE.to_string() };
        let mut query = vec![("direction", "asc"), ("max", max.as_str()), ("dateFrom", from.as_str())];
        query.extend(to.as_deref().map(|to| ("dateTo", to)));
        let path = match log {
            EventLog::Admin => "admin-events",
            EventLog::User => {
                // Only types that every supported Keycloak knows: for an unknown type, it answers 500.
                query.extend(DIRECTORY_EVENTS.map(|kind| ("type", kind)));
                "events"
            }
        };
        let base = self.base().await?;
        let url = base.admin(&self.settings.realm, &[path]);
        let answer = self.fetch(&url, &query, self.settings.connection.time_outs.long).await?;
        self.stored(base, &answer, context)
    }

    fn stored(&self, base: &Base, answer: &Answer, context: &DecodeContext<'_>) -> Result<Vec<Stored>, SourceError> {
        if answer.status == reqwest::StatusCode::BAD_REQUEST {
            return Err(self.too_old("it refuses times in milliseconds (400)"));
        }
        if answer.status != reqwest::StatusCode::OK {
            return Err(self.names.status(Asked::Events, base, answer.status, &answer.headers, &answer.body));
        }
        let decoded = decode_stored(&answer.body, context)
            .map_err(|error| self.names.not_as_expected(Asked::Events, base, &answer.headers, &answer.body, &error))?;
        decoded.ok_or_else(|| self.too_old("the events have no ids"))
    }

    fn too_old(&self, what: &str) -> SourceError {
        fault::error(
            ErrorClass::Permanent,
            format!(
                "realm {}: this Keycloak's events cannot be polled: {what}. Update Keycloak to 26.2 or newer, or set \
                 poll_events = \"off\"",
                self.settings.realm
            ),
        )
    }
}

fn expiry(seconds: i64) -> Option<SignedDuration> {
    (seconds > 0).then(|| SignedDuration::from_secs(seconds))
}

fn events(stored: Vec<Stored>) -> Vec<crate::model::NewEvent> {
    stored.into_iter().map(|stored| stored.event).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::model::EventOutcome;

    /// Returns the events that a real Keycloak stored, as one answer.
    fn captured(file: &str) -> Vec<u8> {
        let file: Value = serde_json::from_str(file).unwrap();
        let steps = file["steps"].as_array().unwrap().iter();
        let events: Vec<&Value> = steps.flat_map(|step| step["events"].as_array().unwrap()).collect();
        serde_json::to_vec(&events).unwrap()
    }

    fn decoded(body: &[u8]) -> Option<Vec<Stored>> {
        let now = "2026-12-01T00:00:00Z".parse().unwrap();
        decode_stored(body, &DecodeContext::new("acme", now)).unwrap()
    }

    #[test]
    fn stored_events_of_a_real_keycloak_are_decoded() {
        for file in [
            include_str!("../../../../tests/captures/recorded-26.7.0.json"),
            include_str!("../../../../tests/captures/recorded-26.7.5.json"),
            include_str!("../../../../tests/captures/keycloak-26.7.0-events.json"),
        ] {
            let stored = decoded(&captured(file)).expect("all have ids");
            assert!(stored.len() > 20, "{}", stored.len());
            for Stored { millis, event } in &stored {
                assert_eq!(event.occurred_at.map(Timestamp::as_millisecond), Some(*millis), "{event:?}");
                assert!(event.polled && !event.recheck, "a stored event is committed: {event:?}");
                assert!(!event.body.contains("ipAddress"), "an address is never stored: {event:?}");
            }
            let users = stored.iter().filter(|stored| stored.event.kind == "CREATE USER");
            assert!(users.clone().count() > 0);
            assert!(users.clone().all(|stored| stored.event.outcome == EventOutcome::Accepted));
        }
    }

    #[test]
    fn events_without_ids_or_times_are_recognized() {
        let old = captured(include_str!("../../../../tests/captures/recorded-26.0.8.json"));
        assert!(decoded(&old).is_none(), "26.0 returns no ids");
        assert!(decoded(br#"[{"id":"e1","type":"REGISTER","userId":"u1"}]"#).is_none());
        assert_eq!(decoded(b"[]").map(|stored| stored.len()), Some(0));
        assert!(
            decode_stored(br#"{"error":"unknown_error"}"#, &DecodeContext::new("acme", Timestamp::UNIX_EPOCH)).is_err()
        );
    }
}
