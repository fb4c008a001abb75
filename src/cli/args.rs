//! Arguments that several commands share.

use std::str::FromStr;

use clap::Args;
use jiff::{Timestamp, Zoned, civil, tz::TimeZone};
use url::Url;

use super::exit::Failure;
use crate::{
    model::{ConnectorName, Subject, TargetName, UserId},
    store::Store,
};

/// A time as an operator writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct When(pub Timestamp);

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text, &Timestamp::now().to_zoned(TimeZone::system())).map(Self)
    }
}

fn parse(text: &str, now: &Zoned) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let local = |time: civil::DateTime| time.to_zoned(now.time_zone().clone()).map(|zoned| zoned.timestamp());
    let found = if let Ok(span) = text.parse::<jiff::Span>() {
        now.checked_sub(span.abs()).map(|zoned| zoned.timestamp())
    } else if let Ok(time) = text.parse::<civil::DateTime>() {
        local(time)
    } else if let Ok(time) = text.parse::<civil::Time>() {
        // After the form with a date: the time parser would accept that form and drop the date.
        local(now.date().to_datetime(time))
    } else {
        return Err("write it as 14:30, 2026-10-02, \"2026-10-02 14:30\", or as 2h or 30m before now".to_owned());
    };
    found.map_err(|error| error.to_string())
}

/// Limits a command to a connector or a target.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct PairArgs {
    /// Only this connector
    #[arg(long, value_name = "NAME")]
    pub connector: Option<ConnectorName>,
    /// Only this target
    #[arg(long, value_name = "NAME")]
    pub target: Option<TargetName>,
}

/// Limits a list to one subject.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct SubjectArgs {
    /// Only this subject: user:ID, group:ID, or the login of a linked account
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
}

/// Limits a list to a period.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(super) struct PeriodArgs {
    /// Only at or after this time: 14:30, 2026-10-02, or 2h for two hours ago
    #[arg(long, value_name = "TIME")]
    from: Option<When>,
    /// Only before this time
    #[arg(long, value_name = "TIME")]
    to: Option<When>,
}

/// Limits the length of a list.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct LimitArgs {
    /// Maximum number of entries; 0 for all
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: usize,
}

/// One page of a list, newest first.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct PageArgs {
    /// Only entries with a smaller number, to continue a previous list
    #[arg(long, value_name = "NO")]
    pub before: Option<i64>,
    /// Maximum number of entries, newest first; 0 for all
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: usize,
}

impl SubjectArgs {
    /// Returns the subject that was named, if any.
    pub async fn find(&self, store: &dyn Store) -> Result<Option<Subject>, Failure> {
        subject(store, self.subject.as_deref()).await
    }
}

impl PeriodArgs {
    /// Returns the beginning, which is included.
    pub fn from(self) -> Option<Timestamp> {
        self.from.map(|when| when.0)
    }

    /// Returns the end, which is not included.
    pub fn to(self) -> Option<Timestamp> {
        self.to.map(|when| when.0)
    }
}

impl PageArgs {
    /// Returns whether the list may continue after this number of entries.
    pub fn is_full(self, entries: usize) -> bool {
        self.limit > 0 && entries == self.limit
    }
}

/// Parses the address of an HTTP server, with its scheme.
pub(super) fn server_url(text: &str) -> Result<Url, String> {
    // Without this check, `sso.example.org:8443` parses as a scheme and a path.
    if !text.contains("://") {
        return Err(format!("write it as https://{}", text.trim_start_matches('/')));
    }
    let url = Url::parse(text).map_err(|error| format!("{error}; write it as https://sso.example.org"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("{} is not supported; write it with https:// (or http://) in front", url.scheme()));
    }
    Ok(url)
}

/// Parses usersync's own address, without a path below it; the caller appends that.
pub(super) fn own_address(text: &str) -> Result<Url, String> {
    let url = server_url(text)?;
    if let Some((before, _)) = text.split_once("/hooks") {
        return Err(format!("write it as {before}: /hooks/CONNECTOR is added"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("end it before the ? or the #".to_owned());
    }
    Ok(url)
}

/// Parses a subject: `user:ID`, `group:ID`, or the login of a linked account.
pub(super) async fn subject(store: &dyn Store, text: Option<&str>) -> Result<Option<Subject>, Failure> {
    let Some(text) = text else { return Ok(None) };
    if let Ok(subject) = text.parse() {
        return Ok(Some(subject));
    }
    let users: std::collections::BTreeSet<UserId> =
        store.links_named(text).await?.into_iter().map(|(_, link)| link.user).collect();
    let mut users = users.into_iter();
    match (users.next(), users.next()) {
        (Some(user), None) => Ok(Some(Subject::User(user))),
        (None, _) => Err(Failure::usage(format!(
            "{text}: no linked account has this login. Write the Keycloak id instead: user:ID or group:ID"
        ))),
        (Some(one), Some(other)) => Err(Failure::usage(format!(
            "{text}: several users are linked under this login. Choose one: user:{one}, user:{other}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_scheme_is_answered_with_one() {
        for text in ["sso.example.org", "sso.example.org:8443", "localhost:8080/auth", "//sso.example.org"] {
            let wanted = format!("write it as https://{}", text.trim_start_matches('/'));
            assert_eq!(server_url(text), Err(wanted));
        }
        assert!(server_url("ftp://sso.example.org").unwrap_err().contains("https://"));
        let hash = "https://sso.example.org/auth/admin/master/console/#/acme";
        assert_eq!(server_url(hash).unwrap().as_str(), hash, "as it stands in a browser");
    }

    #[test]
    fn usersyncs_address_has_one_form() {
        assert_eq!(own_address("https://usersync.example.org").unwrap().as_str(), "https://usersync.example.org/");
        let wanted = "write it as https://example.org/usersync: /hooks/CONNECTOR is added";
        assert_eq!(own_address("https://example.org/usersync/hooks/acme").unwrap_err(), wanted);
        assert!(own_address("https://usersync.example.org?a=b").is_err());
        assert_eq!(own_address("usersync.example.org").unwrap_err(), "write it as https://usersync.example.org");
    }

    #[test]
    fn times_are_read_in_the_readers_zone() {
        let now: Zoned = "2026-10-02T14:00:00+02:00[Europe/Berlin]".parse().unwrap();
        for (text, wanted) in [
            ("2026-10-02T10:00:00Z", "2026-10-02T10:00:00Z"),
            ("13:30", "2026-10-02T11:30:00Z"),
            ("2026-10-01", "2026-09-30T22:00:00Z"),
            ("2026-10-01 08:00", "2026-10-01T06:00:00Z"),
            ("2h", "2026-10-02T10:00:00Z"),
            ("30m", "2026-10-02T11:30:00Z"),
            ("7d", "2026-09-25T12:00:00Z"),
        ] {
            assert_eq!(parse(text, &now), Ok(wanted.parse().unwrap()), "{text}");
        }
        assert!(parse("yesterday-ish", &now).unwrap_err().contains("14:30"));
    }
}
