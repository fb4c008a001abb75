//! Parses the fields of a cron expression and writes them in one canonical form: seven fields, plain numbers, Sunday is
//! 0. Quartz counts Sunday as 1, Unix as 0 and as 7; the number of fields decides what a 1 means.

use std::collections::BTreeSet;

use super::ScheduleError;

/// The family of an expression.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Quartz,
    Unix,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Time,
    DayOfMonth,
    Month,
    DayOfWeek,
    Year,
}

struct Field {
    name: &'static str,
    what: What,
    min: u16,
    max: u16,
}

const SECONDS: Field = Field { name: "seconds", what: What::Time, min: 0, max: 59 };
const MINUTES: Field = Field { name: "minutes", what: What::Time, min: 0, max: 59 };
const HOURS: Field = Field { name: "hours", what: What::Time, min: 0, max: 23 };
const DAYS: Field = Field { name: "day of month", what: What::DayOfMonth, min: 1, max: 31 };
const MONTHS: Field = Field { name: "month", what: What::Month, min: 1, max: 12 };
const QUARTZ_WEEKDAYS: Field = Field { name: "day of week", what: What::DayOfWeek, min: 1, max: 7 };
const UNIX_WEEKDAYS: Field = Field { name: "day of week", what: What::DayOfWeek, min: 0, max: 7 };
const YEARS: Field = Field { name: "year", what: What::Year, min: 1970, max: 2099 };

const MONTH_NAMES: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAY_NAMES: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// Returns the expression in the canonical form, which the search accepts.
pub(super) fn canonical(text: &str) -> Result<String, ScheduleError> {
    let upper = text.trim().to_uppercase();
    let upper = match upper.as_str() {
        "@HOURLY" => "0 * * * *",
        "@DAILY" | "@MIDNIGHT" => "0 0 * * *",
        "@WEEKLY" => "0 0 * * SUN",
        "@MONTHLY" => "0 0 1 * *",
        "@YEARLY" | "@ANNUALLY" => "0 0 1 1 *",
        other => other,
    };
    let parts: Vec<&str> = upper.split_whitespace().collect();
    let (form, fields): (Form, &[Field]) = match parts.len() {
        5 => (Form::Unix, &[MINUTES, HOURS, DAYS, MONTHS, UNIX_WEEKDAYS]),
        6 => (Form::Quartz, &[SECONDS, MINUTES, HOURS, DAYS, MONTHS, QUARTZ_WEEKDAYS]),
        7 => (Form::Quartz, &[SECONDS, MINUTES, HOURS, DAYS, MONTHS, QUARTZ_WEEKDAYS, YEARS]),
        count => {
            return Err(ScheduleError(format!(
                "it has {count} fields; the Quartz form has 6 or 7 (seconds first), the Unix form 5"
            )));
        }
    };
    let mut written = Vec::with_capacity(7);
    for (index, (part, field)) in parts.iter().zip(fields).enumerate() {
        let field_text = rewrite(part, field, form)
            .map_err(|why| ScheduleError(format!("field {} ({}): {why}", index + 1, field.name)))?;
        written.push(field_text);
    }
    match form {
        Form::Unix => {
            written.insert(0, "0".to_owned());
            written.push("*".to_owned());
        }
        Form::Quartz => {
            if written[3] != "*" && written[5] != "*" {
                let why = "day of month and day of week are both given; write ? for one of them".to_owned();
                return Err(ScheduleError(why));
            }
            if written.len() == 6 {
                written.push("*".to_owned());
            }
        }
    }
    Ok(written.join(" "))
}

fn rewrite(text: &str, field: &Field, form: Form) -> Result<String, String> {
    let is_day = matches!(field.what, What::DayOfMonth | What::DayOfWeek);
    if text == "*" || (text == "?" && is_day) {
        return Ok("*".to_owned());
    }
    let mut numbers = BTreeSet::new();
    let mut special = BTreeSet::new();
    for item in text.split(',') {
        if item.is_empty() {
            return Err("there is nothing between two commas".to_owned());
        }
        if item == "?" {
            return Err(if is_day { "? must stand alone" } else { "? is for the two day fields; write *" }.to_owned());
        }
        match field.what {
            What::DayOfMonth if item.contains(['L', 'W']) => {
                special.insert(special_day_of_month(item, field)?);
            }
            What::DayOfWeek if item.contains('#') || (item.ends_with('L') && !item.contains(['-', '/'])) => {
                special.insert(special_day_of_week(item, field, form)?);
            }
            _ => numbers.extend(plain(item, field, form)?),
        }
    }
    // The search would turn L beside LW into two LW.
    if special.contains("L") && special.contains("LW") {
        return Err("L and LW cannot be combined".to_owned());
    }
    Ok(numbers.iter().map(u16::to_string).chain(special).collect::<Vec<_>>().join(","))
}

/// Parses `L`, `LW`, `15W`.
fn special_day_of_month(item: &str, field: &Field) -> Result<String, String> {
    match item.strip_suffix('W') {
        None if item == "L" => Ok(item.to_owned()),
        Some("L") => Ok(item.to_owned()),
        Some(day) if !day.is_empty() && day.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok(format!("{}W", number(day, field)?))
        }
        _ if item.starts_with("L-") => Err(format!("{item} (days before the last) is not supported; L and LW are")),
        _ => Err(format!("`{item}` is none of L (last day), LW (last weekday), 15W (weekday nearest to the 15th)")),
    }
}

/// Parses `L`, `6L`, `FRIL`, `2#1`, `MON#1`.
fn special_day_of_week(item: &str, field: &Field, form: Form) -> Result<String, String> {
    if let Some((day, nth)) = item.split_once('#') {
        let day = weekday(number(day, field)?, form);
        return match nth.parse::<u8>() {
            Ok(nth @ 1..=5) => Ok(format!("{day}#{nth}")),
            _ => Err(format!("`{nth}` after # is not 1 to 5")),
        };
    }
    match (item.trim_end_matches('L'), form) {
        // Quartz: L alone is the last day of the week.
        ("", Form::Quartz) => Ok("6".to_owned()),
        ("", Form::Unix) => Err("L alone means nothing here; 5L is the month's last Friday".to_owned()),
        (day, form) => Ok(format!("{}L", weekday(number(day, field)?, form))),
    }
}

/// Parses `5`, `1-5`, `*/15`, `0/15`, `8-18/2` and names. In the Quartz form, ranges may wrap around.
fn plain(item: &str, field: &Field, form: Form) -> Result<Vec<u16>, String> {
    let (range, step) = match item.split_once('/') {
        None => (item, None),
        Some((range, step)) => (range, Some(step)),
    };
    let step = match step.map(str::parse::<usize>) {
        None => None,
        Some(Ok(step)) if (1..=usize::from(field.max)).contains(&step) => Some(step),
        Some(_) => return Err(format!("the step in `{item}` is not 1 to {}", field.max)),
    };
    let all: Vec<u16> = if range == "*" || (range.is_empty() && step.is_some()) {
        (field.min..=field.max).collect()
    } else if let Some((from, to)) = range.split_once('-') {
        let (from, mut to) = (number(from, field)?, number(to, field)?);
        // Unix: FRI-SUN is valid, with Sunday as 7.
        if form == Form::Unix && field.what == What::DayOfWeek && to == 0 && from > 0 {
            to = 7;
        }
        if from <= to {
            (from..=to).collect()
        } else if form == Form::Quartz && field.what != What::Year {
            (from..=field.max).chain(field.min..=to).collect()
        } else {
            return Err(format!("{range} goes backwards"));
        }
    } else {
        let first = number(range, field)?;
        if step.is_some() { (first..=field.max).collect() } else { vec![first] }
    };
    Ok(all
        .into_iter()
        .step_by(step.unwrap_or(1))
        .map(|value| if field.what == What::DayOfWeek { weekday(value, form) } else { value })
        .collect())
}

/// Parses a number of the field, or a name that stands for one.
fn number(text: &str, field: &Field) -> Result<u16, String> {
    let named = |names: &[&str]| names.iter().position(|name| *name == text).and_then(|at| u16::try_from(at).ok());
    let by_name = match field.what {
        What::Month => named(&MONTH_NAMES),
        What::DayOfWeek => named(&DAY_NAMES),
        What::Time | What::DayOfMonth | What::Year => None,
    };
    if let Some(at) = by_name {
        return Ok(field.min + at);
    }
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        let kind = match field.what {
            What::Month => "neither a number nor a month (JAN to DEC)",
            What::DayOfWeek => "neither a number nor a day (SUN to SAT)",
            What::Time | What::DayOfMonth | What::Year => "not a number",
        };
        return Err(format!("`{text}` is {kind}"));
    }
    match text.parse::<u16>() {
        Ok(value) if value < field.min => Err(format!("{value} is below {}", field.min)),
        Ok(value) if value <= field.max => Ok(value),
        _ => Err(format!("{text} is past {}", field.max)),
    }
}

/// Converts a weekday to the numbering with Sunday as 0.
fn weekday(value: u16, form: Form) -> u16 {
    match form {
        Form::Quartz => value.saturating_sub(1),
        Form::Unix => value % 7,
    }
}
