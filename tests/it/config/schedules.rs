//! Cron expressions, time zones and their changes of the clock.

use jiff::{Timestamp, tz::TimeZone};
use usersync::config::Schedule;

use super::{at, berlin};

fn times(expression: &str, zone: &TimeZone, from: &str, count: usize) -> Vec<String> {
    let from = at(from);
    let schedule =
        Schedule::parse(expression, zone.clone(), from).unwrap_or_else(|error| panic!("{expression}: {error}"));
    let local = |time: Timestamp| time.to_zoned(zone.clone()).strftime("%a %F %T %:z").to_string();
    schedule.next_n(from, count).into_iter().map(local).collect()
}

/// 1 July 2026 is a Wednesday.
#[test]
fn cron_expressions_mean_what_quartz_and_unix_say() {
    let cases: [(&str, &[&str]); 35] = [
        ("0 0 * * * ?", &["Wed 2026-07-01 01:00:00", "Wed 2026-07-01 02:00:00"]),
        ("0 0/20 * * * ?", &["Wed 2026-07-01 00:20:00", "Wed 2026-07-01 00:40:00", "Wed 2026-07-01 01:00:00"]),
        ("0 5/20 * * * ?", &["Wed 2026-07-01 00:05:00", "Wed 2026-07-01 00:25:00"]),
        ("0 /20 * * * ?", &["Wed 2026-07-01 00:20:00"]),
        ("*/20 * * * * *", &["Wed 2026-07-01 00:00:20", "Wed 2026-07-01 00:00:40"]),
        ("0 30 2 * * ?", &["Wed 2026-07-01 02:30:00", "Thu 2026-07-02 02:30:00"]),
        (
            "0 0 9-17/4 * * ?",
            &[
                "Wed 2026-07-01 09:00:00",
                "Wed 2026-07-01 13:00:00",
                "Wed 2026-07-01 17:00:00",
                "Thu 2026-07-02 09:00:00",
            ],
        ),
        ("0 0 22-2 * * ?", &["Wed 2026-07-01 01:00:00", "Wed 2026-07-01 02:00:00", "Wed 2026-07-01 22:00:00"]),
        // Quartz: 1 is Sunday.
        ("0 0 6 ? * 1", &["Sun 2026-07-05 06:00:00", "Sun 2026-07-12 06:00:00"]),
        ("0 0 6 ? * 2", &["Mon 2026-07-06 06:00:00"]),
        ("0 0 6 ? * 7", &["Sat 2026-07-04 06:00:00"]),
        (
            "0 0 6 ? * 2-6",
            &[
                "Wed 2026-07-01 06:00:00",
                "Thu 2026-07-02 06:00:00",
                "Fri 2026-07-03 06:00:00",
                "Mon 2026-07-06 06:00:00",
            ],
        ),
        (
            "0 0 6 ? * MON-FRI",
            &[
                "Wed 2026-07-01 06:00:00",
                "Thu 2026-07-02 06:00:00",
                "Fri 2026-07-03 06:00:00",
                "Mon 2026-07-06 06:00:00",
            ],
        ),
        ("0 0 6 ? * sat,sun", &["Sat 2026-07-04 06:00:00", "Sun 2026-07-05 06:00:00"]),
        (
            "0 0 6 ? * FRI-MON",
            &[
                "Fri 2026-07-03 06:00:00",
                "Sat 2026-07-04 06:00:00",
                "Sun 2026-07-05 06:00:00",
                "Mon 2026-07-06 06:00:00",
                "Fri 2026-07-10 06:00:00",
            ],
        ),
        ("0 0 6 ? * L", &["Sat 2026-07-04 06:00:00", "Sat 2026-07-11 06:00:00"]),
        ("0 0 6 ? * 6L", &["Fri 2026-07-31 06:00:00", "Fri 2026-08-28 06:00:00"]),
        ("0 0 6 ? * FRIL", &["Fri 2026-07-31 06:00:00"]),
        ("0 0 6 ? * 2#1", &["Mon 2026-07-06 06:00:00", "Mon 2026-08-03 06:00:00"]),
        ("0 0 6 ? * WED#5", &["Wed 2026-07-29 06:00:00", "Wed 2026-09-30 06:00:00"]),
        ("0 0 6 * * MON", &["Mon 2026-07-06 06:00:00"]),
        ("0 0 6 L * ?", &["Fri 2026-07-31 06:00:00", "Mon 2026-08-31 06:00:00"]),
        (
            "0 0 6 LW * ?",
            &[
                "Fri 2026-07-31 06:00:00",
                "Mon 2026-08-31 06:00:00",
                "Wed 2026-09-30 06:00:00",
                "Fri 2026-10-30 06:00:00",
            ],
        ),
        ("0 0 6 4W * ?", &["Fri 2026-07-03 06:00:00", "Tue 2026-08-04 06:00:00"]),
        ("0 0 6 1,15 * ?", &["Wed 2026-07-01 06:00:00", "Wed 2026-07-15 06:00:00"]),
        ("0 0 0 29 2 ?", &["Tue 2028-02-29 00:00:00"]),
        ("0 0 0 1 JAN-MAR ?", &["Fri 2027-01-01 00:00:00", "Mon 2027-02-01 00:00:00", "Mon 2027-03-01 00:00:00"]),
        ("0 0 0 1 1 ? 2030", &["Tue 2030-01-01 00:00:00"]),
        ("0 0 0 1 1 ? 2027-2031/2", &["Fri 2027-01-01 00:00:00", "Mon 2029-01-01 00:00:00", "Wed 2031-01-01 00:00:00"]),
        // Unix: 0 and 7 are Sunday.
        ("0 6 * * 1", &["Mon 2026-07-06 06:00:00"]),
        ("0 6 * * 0", &["Sun 2026-07-05 06:00:00"]),
        (
            "0 6 * * 5-7",
            &[
                "Fri 2026-07-03 06:00:00",
                "Sat 2026-07-04 06:00:00",
                "Sun 2026-07-05 06:00:00",
                "Fri 2026-07-10 06:00:00",
            ],
        ),
        (
            "0 6 * * FRI-SUN",
            &[
                "Fri 2026-07-03 06:00:00",
                "Sat 2026-07-04 06:00:00",
                "Sun 2026-07-05 06:00:00",
                "Fri 2026-07-10 06:00:00",
            ],
        ),
        // Unix: with both day fields, either one matches.
        ("0 6 4 * MON", &["Sat 2026-07-04 06:00:00", "Mon 2026-07-06 06:00:00"]),
        ("@daily", &["Thu 2026-07-02 00:00:00"]),
    ];
    for (expression, expected) in cases {
        let found = times(expression, &TimeZone::UTC, "2026-07-01T00:00:00Z", expected.len());
        let expected: Vec<String> = expected.iter().map(|time| format!("{time} +00:00")).collect();
        assert_eq!(found, expected, "{expression}");
    }
}

#[test]
fn wrong_expressions_are_reported_by_field() {
    let cases = [
        ("0 0 25 * * ?", "field 3 (hours): 25 is past 23"),
        ("60 0 * * * ?", "field 1 (seconds): 60 is past 59"),
        ("0 99999999 * * * ?", "field 2 (minutes): 99999999 is past 59"),
        ("0 0 0 0 * ?", "field 4 (day of month): 0 is below 1"),
        ("0 0 0 ? 13 *", "field 5 (month): 13 is past 12"),
        ("0 0 0 ? * 0", "field 6 (day of week): 0 is below 1"),
        ("0 0 0 ? * 8", "field 6 (day of week): 8 is past 7"),
        ("0 0 0 * * 8", "field 6 (day of week): 8 is past 7"),
        ("* * * * 8", "field 5 (day of week): 8 is past 7"),
        ("0 0 0 ? * MOON", "field 6 (day of week): `MOON` is neither a number nor a day (SUN to SAT)"),
        ("0 0 0 ? XYZ *", "field 5 (month): `XYZ` is neither a number nor a month (JAN to DEC)"),
        ("0 0 x * * ?", "field 3 (hours): `X` is not a number"),
        ("0 0 ? * * ?", "field 3 (hours): ? is for the two day fields; write *"),
        ("0 0 0 1,? * *", "field 4 (day of month): ? must stand alone"),
        ("0 0 1,,2 * * ?", "field 3 (hours): there is nothing between two commas"),
        ("0 */0 * * * ?", "field 2 (minutes): the step in `*/0` is not 1 to 59"),
        ("0 */61 * * * ?", "field 2 (minutes): the step in `*/61` is not 1 to 59"),
        ("0 5-1 * * *", "field 2 (hours): 5-1 goes backwards"),
        ("30-10 * * * *", "field 1 (minutes): 30-10 goes backwards"),
        ("0 0 0 ? * 2#6", "field 6 (day of week): `6` after # is not 1 to 5"),
        ("0 0 * * L", "field 5 (day of week): L alone means nothing here; 5L is the month's last Friday"),
        ("0 0 0 L-3 * ?", "field 4 (day of month): L-3 (days before the last) is not supported; L and LW are"),
        ("0 0 0 5X,1-3W * ?", "field 4 (day of month): `5X` is not a number"),
        ("0 0 0 L,LW * ?", "field 4 (day of month): L and LW cannot be combined"),
        ("0 0 0 1 * MON", "day of month and day of week are both given; write ? for one of them"),
        ("0 0 0 1 1 ? 1969", "field 7 (year): 1969 is below 1970"),
        ("0 0 0 1 1 ? 2100", "field 7 (year): 2100 is past 2099"),
        ("", "it has 0 fields; the Quartz form has 6 or 7 (seconds first), the Unix form 5"),
        ("* * * *", "it has 4 fields; the Quartz form has 6 or 7 (seconds first), the Unix form 5"),
        ("0 0 0 30 2 ?", "it never fires: no future date matches"),
        ("0 0 0 1 1 ? 2020", "it never fires: no future date matches"),
    ];
    for (expression, expected) in cases {
        let result = Schedule::parse(expression, TimeZone::UTC, at("2026-07-01T00:00:00Z"));
        assert_eq!(result.expect_err(expression).to_string(), expected, "{expression}");
    }
}

/// Berlin: on 29 March 2026 the clock goes from 02:00 to 03:00, on 25 October from 03:00 back to 02:00.
#[test]
fn the_clocks_changes_lose_no_daily_run_and_double_none() {
    assert_eq!(
        times("0 30 2 * * ?", &berlin(), "2026-03-28T00:00:00Z", 3),
        ["Sat 2026-03-28 02:30:00 +01:00", "Sun 2026-03-29 03:00:00 +02:00", "Mon 2026-03-30 02:30:00 +02:00"]
    );
    assert_eq!(
        times("0 30 2 * * ?", &berlin(), "2026-10-24T12:00:00Z", 2),
        ["Sun 2026-10-25 02:30:00 +02:00", "Mon 2026-10-26 02:30:00 +01:00"]
    );
    // Hourly schedules follow the clock: 23 hours in spring, 25 in autumn.
    assert_eq!(
        times("0 0 * * * ?", &berlin(), "2026-03-29T00:30:00Z", 2),
        ["Sun 2026-03-29 03:00:00 +02:00", "Sun 2026-03-29 04:00:00 +02:00"]
    );
    assert_eq!(
        times("0 0 * * * ?", &berlin(), "2026-10-24T23:30:00Z", 4),
        [
            "Sun 2026-10-25 02:00:00 +02:00",
            "Sun 2026-10-25 02:00:00 +01:00",
            "Sun 2026-10-25 03:00:00 +01:00",
            "Sun 2026-10-25 04:00:00 +01:00"
        ]
    );
}

#[test]
fn a_time_zone_moves_the_day() {
    let kathmandu = TimeZone::get("Asia/Kathmandu").unwrap();
    assert_eq!(times("0 0 0 ? * SUN", &kathmandu, "2026-07-01T00:00:00Z", 1), ["Sun 2026-07-05 00:00:00 +05:45"]);
}

#[test]
fn the_next_time_is_later_even_within_the_second() {
    let schedule = Schedule::parse("0 0 * * * ?", TimeZone::UTC, at("2026-07-01T00:00:00Z")).unwrap();
    assert_eq!(schedule.next_after(at("2026-07-01T01:00:00Z")), Some(at("2026-07-01T02:00:00Z")));
    assert_eq!(schedule.next_after(at("2026-07-01T01:00:00.5Z")), Some(at("2026-07-01T02:00:00Z")));
    assert_eq!(schedule.next_after(at("2026-07-01T00:59:59.5Z")), Some(at("2026-07-01T01:00:00Z")));
}

#[test]
fn an_expression_that_ends_has_no_next_time() {
    let schedule = Schedule::parse("0 0 0 1 1 ? 2030", TimeZone::UTC, at("2026-07-01T00:00:00Z")).unwrap();
    assert_eq!(schedule.next_n(at("2026-07-01T00:00:00Z"), 5).len(), 1);
    assert_eq!(schedule.next_after(at("2030-01-01T00:00:00Z")), None);
}
