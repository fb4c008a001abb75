//! Arguments that several commands share.

use std::str::FromStr;

use jiff::{Timestamp, Zoned, civil, tz::TimeZone};
use url::Url;

use super::exit::Failure;
use crate::{
    model::{Subject, UserId},
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
