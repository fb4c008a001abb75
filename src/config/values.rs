//! Parses single values: what each kind of key accepts, and the error for other values. No I/O.

use std::{net::SocketAddr, num::NonZeroU32, time::Duration};

use jiff::{SignedDuration, Span, SpanRelativeTo, civil::Time, tz::TimeZone};
use lettre::message::Mailbox;
use toml::de::DeValue;
use url::{Host, Url};

use super::{mask::mask, suggest::did_you_mean};

/// Why a value is invalid; the reader adds key and place.
#[derive(Debug)]
pub(super) struct Wrong {
    pub message: String,
    pub help: Option<String>,
}

/// Maximum number of characters of a value that a message repeats.
const QUOTED_CHARS: usize = 70;

pub(super) type Read<T> = Result<T, Wrong>;

impl Wrong {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// The value has another type. It is not repeated: it may be a misplaced secret.
    fn kind(wanted: &str, found: &DeValue<'_>) -> Self {
        Self::new(format!("this is {}, but {wanted} is expected", kind_of(found)))
    }
}

/// Quotes a value for messages: on one line, shortened, and without what may be a secret after a missing quote.
pub(super) fn quoted(text: &str) -> String {
    let masked = mask(text);
    let line = masked.lines().next().unwrap_or_default();
    let short: String = line.chars().take(QUOTED_CHARS).collect();
    if short.len() == text.len() { format!("`{short}`") } else { format!("`{short}…`") }
}

/// Returns the type of a value, in words.
pub(super) fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Parses any non-empty text.
pub(super) fn text<'v>(value: &'v DeValue<'_>) -> Read<&'v str> {
    match value {
        DeValue::String(text) if text.trim().is_empty() => Err(Wrong::new("this is empty")),
        DeValue::String(text) => Ok(text),
        other => Err(Wrong::kind("a string in quotes", other)),
    }
}

/// Parses any non-empty text, and returns it owned.
pub(super) fn string(value: &DeValue<'_>) -> Read<String> {
    text(value).map(str::to_owned)
}

/// Parses the user of a proxy. HTTP Basic authentication ends the user at the first colon (RFC 7617, section 2).
pub(super) fn proxy_user(value: &DeValue<'_>) -> Read<String> {
    let user = text(value)?;
    if user.contains(':') || user.chars().any(char::is_control) {
        return Err(Wrong::new("a proxy's user has no colon and no control character")
            .help("set the password in proxy_password_file"));
    }
    Ok(user.to_owned())
}

/// Parses `true` or `false`.
pub(super) fn flag(value: &DeValue<'_>) -> Read<bool> {
    match value {
        DeValue::Boolean(flag) => Ok(*flag),
        other => Err(Wrong::kind("true or false, without quotes,", other)),
    }
}

/// Parses a whole number from 1 to `max`.
pub(super) fn count(max: u32) -> impl Fn(&DeValue<'_>) -> Read<NonZeroU32> {
    move |value| {
        let DeValue::Integer(number) = value else { return Err(Wrong::kind("a whole number", value)) };
        u32::from_str_radix(number.as_str(), number.radix())
            .ok()
            .filter(|number| *number <= max)
            .and_then(NonZeroU32::new)
            .ok_or_else(|| Wrong::new(format!("{number} is not 1 to {max}")))
    }
}

/// Parses a duration such as `30d` or `1h 30m`; it must be positive.
pub(super) fn duration(value: &DeValue<'_>) -> Read<SignedDuration> {
    const HELP: &str = "write it with its units, as \"90s\", \"15m\", \"24h\" or \"30d\"";
    let text = match value {
        DeValue::Integer(_) => return Err(Wrong::new("this duration has no unit").help(HELP)),
        other => text(other)?,
    };
    let span: Span = text.parse().map_err(|_| Wrong::new(format!("{} is not a duration", quoted(text))).help(HELP))?;
    let duration = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| Wrong::new(format!("{} has months or years, whose length differs", quoted(text))).help(HELP))?;
    if duration.is_positive() {
        Ok(duration)
    } else {
        Err(Wrong::new(format!("{} is not greater than zero", quoted(text))).help(HELP))
    }
}

/// Parses a retention time: at least one day, because the hourly limits count changes.
pub(super) fn retention(value: &DeValue<'_>) -> Read<SignedDuration> {
    let retention = duration(value)?;
    if retention < SignedDuration::from_hours(24) {
        let wrong = Wrong::new(format!("{retention:#} is less than a day"));
        return Err(wrong.help("the hourly limits are counted from changes that are kept; write \"1d\" or more"));
    }
    Ok(retention)
}

/// Parses a timeout: at most one hour.
pub(super) fn wait(value: &DeValue<'_>) -> Read<Duration> {
    let duration = duration(value)?;
    match Duration::try_from(duration) {
        Ok(duration) if duration <= Duration::from_hours(1) => Ok(duration),
        _ => Err(Wrong::new(format!("{duration:#} is longer than an hour"))),
    }
}

/// Parses an interval of 1 s to one hour; `None`: `off`.
pub(super) fn interval_or_off(value: &DeValue<'_>) -> Read<Option<SignedDuration>> {
    if matches!(value, DeValue::String(text) if text == "off") {
        return Ok(None);
    }
    let interval = duration(value)?;
    if (SignedDuration::from_secs(1)..=SignedDuration::from_hours(1)).contains(&interval) {
        return Ok(Some(interval));
    }
    Err(Wrong::new(format!("{interval:#} is not 1s to 1h")).help("write it as \"5s\" or \"1m\", or \"off\""))
}

/// Parses a size such as `1 MiB` or `500 kB`, up to 1 GiB.
pub(super) fn size(value: &DeValue<'_>) -> Read<usize> {
    const HELP: &str = "write it with its unit, as \"64 KiB\" or \"1 MiB\"";
    const UNITS: [(&str, usize); 7] = [
        ("b", 1),
        ("kib", 1 << 10),
        ("mib", 1 << 20),
        ("gib", 1 << 30),
        ("kb", 1000),
        ("mb", 1_000_000),
        ("gb", 1_000_000_000),
    ];
    let text = match value {
        DeValue::Integer(_) => return Err(Wrong::new("this size has no unit").help(HELP)),
        other => text(other)?.trim(),
    };
    let wrong = || Wrong::new(format!("{} is not a size", quoted(text))).help(HELP);
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let unit = text[split..].trim().to_lowercase();
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    let number: usize = text[..split].parse().map_err(|_| wrong())?;
    match number.checked_mul(*factor) {
        Some(bytes) if (1024..=1 << 30).contains(&bytes) => Ok(bytes),
        _ => Err(Wrong::new(format!("{} is not between 1 KiB and 1 GiB", quoted(text)))),
    }
}

/// Parses a listen address.
pub(super) fn listen(value: &DeValue<'_>) -> Read<SocketAddr> {
    let text = text(value)?;
    text.parse().map_err(|_| {
        Wrong::new(format!("{} is not an IP address with a port", quoted(text)))
            .help("write it as \"127.0.0.1:8475\", \"0.0.0.0:8475\" or \"[::1]:8475\"")
    })
}

/// Parses the base URL of a server.
pub(super) fn base_url(value: &DeValue<'_>) -> Read<Url> {
    let text = text(value)?;
    // Credentials are checked first: a value that contains them is not repeated.
    if text.split_once("://").is_some_and(|(_, rest)| rest.contains('@')) {
        return Err(Wrong::new("this URL contains a user name or password")
            .help("write the URL only; secrets have their own keys"));
    }
    let url = Url::parse(text).map_err(|error| {
        Wrong::new(format!("{} is not a URL: {error}", quoted(text))).help("write it as \"https://jira.example.org\"")
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Wrong::new(format!("scheme `{}` is not supported", url.scheme()))
            .help("write it with https:// (or http://) in front"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(
            Wrong::new(format!("{} has a query or a fragment", quoted(text))).help("end the URL before the ? or the #")
        );
    }
    Ok(url)
}

/// Parses the address of a webhook, which may have a query. It is not repeated: a part of it may be a secret.
pub(super) fn webhook_url(value: &DeValue<'_>) -> Read<Url> {
    let url = Url::parse(text(value)?)
        .map_err(|error| Wrong::new(format!("this is not a URL: {error}")).help("write it as \"https://…\""))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        other => Err(Wrong::new(format!("scheme `{other}` is not supported")).help("write it with https:// in front")),
    }
}

/// Parses a time of day such as `08:00`.
pub(super) fn time_of_day(value: &DeValue<'_>) -> Read<Time> {
    let wrong = |what: String| Wrong::new(what).help("write it as \"08:00\" or \"17:30\"");
    let DeValue::String(text) = value else {
        return Err(wrong(format!("this is {}, but a time of day in quotes is expected", kind_of(value))));
    };
    let is_form = text.len() == 5 && text.as_bytes()[2] == b':';
    Time::strptime("%H:%M", text.as_ref())
        .ok()
        .filter(|_| is_form)
        .ok_or_else(|| wrong(format!("{} is not a time of day", quoted(text))))
}

/// Parses the address of a mail server: a name or an IP address, and a port.
pub(super) fn mail_server(value: &DeValue<'_>) -> Read<(Host, u16)> {
    let text = text(value)?;
    let wrong = || {
        Wrong::new(format!("{} is not a mail server with a port", quoted(text)))
            .help("write it as \"smtp.example.org:587\"; the key tls selects the encryption")
    };
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
    Host::parse(host).map(|host| (host, port)).map_err(|_| wrong())
}

/// Parses a mailbox: an e-mail address, with or without a display name.
pub(super) fn mailbox(value: &DeValue<'_>) -> Read<Mailbox> {
    const HELP: &str = "write it as \"ops@example.org\" or \"Operations <ops@example.org>\"";
    let text = text(value)?;
    let mailbox: Result<Mailbox, _> = text.parse();
    match mailbox {
        Ok(_) if text.chars().any(char::is_control) => Err(Wrong::new("it contains a control character").help(HELP)),
        Ok(mailbox) if mailbox.email.to_string().is_ascii() => Ok(mailbox),
        Ok(_) => Err(Wrong::new(format!("the address in {} is not ASCII", quoted(text)))
            .help("write the domain in its ASCII form, xn--…")),
        Err(_) => Err(Wrong::new(format!("{} is not an e-mail address", quoted(text))).help(HELP)),
    }
}

/// Parses the name of a connector, target or alert, which is used in URLs, logs and metrics.
pub(super) fn name(value: &DeValue<'_>) -> Read<String> {
    let text = text(value)?;
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let rest = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte));
    if first && rest && text.len() <= 63 {
        Ok(text.to_owned())
    } else {
        Err(Wrong::new(format!("{} is not a valid name", quoted(text)))
            .help("use a to z, 0 to 9, and after the first character also . _ -; at most 63 characters"))
    }
}

/// Parses one of a fixed set of words.
pub(super) fn one_of<T: Copy + 'static>(words: &'static [(&'static str, T)]) -> impl Fn(&DeValue<'_>) -> Read<T> {
    move |value| {
        let text = text(value)?;
        if let Some((_, meant)) = words.iter().find(|(word, _)| *word == text) {
            return Ok(*meant);
        }
        let all = words.iter().map(|(word, _)| *word);
        let list = all.clone().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
        let help = did_you_mean(text, all).unwrap_or_else(|| format!("use {list}"));
        Err(Wrong::new(format!("{} is not known here", quoted(text))).help(help))
    }
}

/// Parses a time zone by its name.
pub(super) fn time_zone(value: &DeValue<'_>) -> Read<TimeZone> {
    let text = text(value)?;
    TimeZone::get(text).map_err(|_| {
        let known: Vec<String> = jiff::tz::db().available().map(|name| name.as_str().to_owned()).collect();
        let help = did_you_mean(text, known.iter().map(String::as_str))
            .unwrap_or_else(|| "use a name of the tz database, such as \"Europe/Berlin\" or \"UTC\"".to_owned());
        Wrong::new(format!("{} is not a time zone", quoted(text))).help(help)
    })
}
