//! The `Retry-After` header.

use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};

/// Maximum delay that is accepted; after it the server is asked again.
const LONGEST: SignedDuration = SignedDuration::from_hours(1);

/// Parses a `Retry-After` value: seconds, fractions of seconds, or an HTTP date relative to `now`. A past date is no
/// delay, an unreadable value is `None`, and the maximum is one hour.
///
/// ```
/// use jiff::{SignedDuration, Timestamp};
/// use usersync_clients::http::retry_after;
///
/// let now: Timestamp = "2026-11-06T08:49:37Z".parse()?;
/// assert_eq!(retry_after("7", now), Some(SignedDuration::from_secs(7)));
/// assert_eq!(retry_after("Fri, 06 Nov 2026 08:49:57 GMT", now), Some(SignedDuration::from_secs(20)));
/// assert_eq!(retry_after("soon", now), None);
/// # Ok::<(), jiff::Error>(())
/// ```
pub fn retry_after(value: &str, now: Timestamp) -> Option<SignedDuration> {
    let value = value.trim();
    let wait = if value.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        let seconds: f64 = value.trim_end_matches(['s', 'S']).trim_end().parse().ok()?;
        SignedDuration::try_from_secs_f64(seconds).unwrap_or(LONGEST)
    } else {
        http_date(value)?.duration_since(now)
    };
    Some(wait.clamp(SignedDuration::ZERO, LONGEST))
}

/// Parses an HTTP date in one of the three forms that RFC 9110 requires.
pub fn http_date(value: &str) -> Option<Timestamp> {
    let utc = |date: DateTime| date.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    let parse = |form: &str| DateTime::strptime(form, value).ok();
    parse("%a, %d %b %Y %H:%M:%S GMT")
        .or_else(|| parse("%A, %d-%b-%y %H:%M:%S GMT"))
        .or_else(|| parse("%a %b %e %H:%M:%S %Y"))
        .and_then(utc)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(value: &str) -> Option<f64> {
        let now = "2026-11-06T08:49:37Z".parse().ok()?;
        retry_after(value, now).map(|wait| wait.as_secs_f64())
    }

    #[test]
    fn seconds_fractions_and_dates_are_understood() {
        for (value, seconds) in [
            ("0", Some(0.0)),
            ("7", Some(7.0)),
            (" 7 ", Some(7.0)),
            ("1.5", Some(1.5)),
            (".25", Some(0.25)),
            ("30s", Some(30.0)),
            ("Fri, 06 Nov 2026 08:49:57 GMT", Some(20.0)),
            ("Friday, 06-Nov-26 08:49:57 GMT", Some(20.0)),
            ("Fri Nov  6 08:49:57 2026", Some(20.0)),
            ("Fri, 06 Nov 2026 08:49:07 GMT", Some(0.0)),
            ("86400", Some(3600.0)),
            ("99999999999999999999999", Some(3600.0)),
            ("-3", None),
            ("soon", None),
            ("", None),
            ("1.2.3", None),
            ("Fri, 31 Feb 2026 08:49:57 GMT", None),
        ] {
            assert_eq!(wait(value), seconds, "{value:?}");
        }
    }
}
