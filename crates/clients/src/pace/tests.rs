//! Tests of the pace against servers with published limits.

use reqwest::header::{HeaderName, HeaderValue};

use super::*;

/// A simulated server that limits its callers.
struct Server {
    /// A bucket with its size and calls per second, or a window with its calls and length.
    kind: Kind,
    left: f64,
    at: Timestamp,
    /// Whether it reports its bucket.
    tells: bool,
}

enum Kind {
    Bucket(f64, f64),
    Window(f64, SignedDuration),
}

impl Server {
    fn bucket(size: f64, per_second: f64, tells: bool) -> Self {
        Self { kind: Kind::Bucket(size, per_second), left: size, at: Timestamp::UNIX_EPOCH, tells }
    }

    fn window(calls: f64, seconds: i64) -> Self {
        let kind = Kind::Window(calls, SignedDuration::from_secs(seconds));
        Self { kind, left: calls, at: Timestamp::UNIX_EPOCH, tells: false }
    }

    fn answer(&mut self, now: Timestamp) -> (StatusCode, HeaderMap) {
        let wait = match self.kind {
            Kind::Bucket(size, per_second) => {
                self.left = (self.left + now.duration_since(self.at).as_secs_f64() * per_second).min(size);
                self.at = now;
                ((1.0 - self.left) / per_second).ceil()
            }
            Kind::Window(calls, length) => {
                if now.duration_since(self.at) >= length {
                    (self.at, self.left) = (now, calls);
                }
                (self.at + length).duration_since(now).as_secs_f64().ceil()
            }
        };
        let granted = self.left >= 1.0;
        self.left -= if granted { 1.0 } else { 0.0 };
        let mut headers = Vec::new();
        if let (Kind::Bucket(size, per_second), true) = (&self.kind, self.tells) {
            headers.push(("x-ratelimit-limit", format!("{size}")));
            headers.push(("x-ratelimit-remaining", format!("{:.0}", self.left.floor())));
            headers.push(("x-ratelimit-interval-seconds", "1".to_owned()));
            headers.push(("x-ratelimit-fillrate", format!("{per_second}")));
        }
        if !granted {
            headers.push(("retry-after", format!("{wait:.0}")));
        }
        let status = if granted { StatusCode::OK } else { StatusCode::TOO_MANY_REQUESTS };
        (status, map(&headers))
    }
}

fn map(headers: &[(&'static str, String)]) -> HeaderMap {
    let one = |(name, value): &(&'static str, String)| {
        (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))
    };
    headers.iter().map(one).collect()
}

/// Makes this many calls, at least 10 ms apart. Returns the number of refused calls; `now` is the time of the last
/// call.
fn calls(pace: &mut Pace, server: &mut Server, lane: &str, calls: usize, now: &mut Timestamp) -> usize {
    let (mut done, mut refused) = (0, 0);
    while done < calls {
        if let Err(at) = pace.admit(lane, *now) {
            assert!(at > *now, "it waits for something to come");
            *now = at;
            continue;
        }
        let sent = *now;
        *now += SignedDuration::from_millis(10);
        let (status, headers) = server.answer(*now);
        let limits = Limits::read(status, &headers, *now);
        pace.answered(lane, sent, &limits, *now);
        if limits.is_refusal() { refused += 1 } else { done += 1 }
    }
    refused
}

fn seconds(now: Timestamp) -> f64 {
    now.as_duration().as_secs_f64()
}

#[test]
fn a_bucket_that_is_told_is_never_overdrawn() {
    let (mut pace, mut now) = (Pace::new(None), Timestamp::UNIX_EPOCH);
    let refused = calls(&mut pace, &mut Server::bucket(60.0, 5.0, true), "GET users", 400, &mut now);
    assert_eq!(refused, 0);
    assert!((68.0..75.0).contains(&seconds(now)), "{now}");
}

#[test]
fn bitbuckets_bucket_is_found_out_where_it_is_not_told() {
    // 60 tokens, 5 a second: Bitbucket's default.
    let (mut pace, mut now) = (Pace::new(None), Timestamp::UNIX_EPOCH);
    let mut server = Server::bucket(60.0, 5.0, false);
    let refused = calls(&mut pace, &mut server, "GET admin", 400, &mut now);
    assert!(refused <= 10, "{refused}");
    assert!(seconds(now) < 110.0, "{now}");
    let refused = calls(&mut pace, &mut server, "GET admin", 400, &mut now);
    assert!(refused <= 1, "it is kept: {refused}");
}

#[test]
fn slacks_180_creates_a_minute_are_kept() {
    let (mut pace, mut now) = (Pace::new(None), Timestamp::UNIX_EPOCH);
    let refused = calls(&mut pace, &mut Server::window(180.0, 60), "POST Users", 1_000, &mut now);
    assert!(refused <= 2, "{refused}");
    assert!(seconds(now) < 6.5 * 60.0, "{now}");
}

#[test]
fn miros_limit_of_one_kind_of_call_slows_no_other() {
    let (mut pace, mut now) = (Pace::new(None), Timestamp::UNIX_EPOCH);
    let mut groups = Server::window(5.0, 30);
    let refused = calls(&mut pace, &mut groups, "GET Groups", 40, &mut now);
    assert!(refused <= 2, "{refused}");
    assert!(seconds(now) < 300.0, "{now}");
    let began = now;
    assert_eq!(calls(&mut pace, &mut Server::window(1e9, 30), "GET Users", 500, &mut now), 0);
    assert!(now.duration_since(began) < SignedDuration::from_secs(6), "{}", now.duration_since(began));
}

#[test]
fn a_limit_that_is_lifted_is_noticed() {
    let (mut pace, mut now) = (Pace::new(None), Timestamp::UNIX_EPOCH);
    calls(&mut pace, &mut Server::window(180.0, 60), "POST Users", 300, &mut now);
    let began = now;
    calls(&mut pace, &mut Server::window(1e9, 60), "POST Users", 40_000, &mut now);
    let free = 40_000.0 / now.duration_since(began).as_secs_f64();
    assert!(free > 4.0, "{free} a second");
}

#[test]
fn a_window_is_not_overdrawn_in_any_form() {
    let reset = |form: &'static str, value: &str| {
        let now = Timestamp::from_second(1_800_000_000).expect("a time");
        let headers = map(&[("ratelimit-limit", "100, 100;w=60".into()), ("ratelimit-remaining", "0".into())]);
        let mut headers = if form == "ratelimit" { HeaderMap::new() } else { headers };
        headers.insert(HeaderName::from_static(form), HeaderValue::from_str(value).expect("a value"));
        let mut pace = Pace::new(None);
        pace.admit("GET x", now).expect("the first one goes");
        pace.answered("GET x", now, &Limits::read(StatusCode::OK, &headers, now), now);
        assert_eq!(pace.admit("GET y", now), Ok(()), "{form}");
        pace.admit("GET x", now).expect_err(form).duration_since(now).as_secs()
    };
    assert_eq!(reset("ratelimit-reset", "30"), 30);
    assert_eq!(reset("x-ratelimit-reset", "1800000031"), 31);
    assert_eq!(reset("ratelimit", "\"default\";r=0;t=29"), 29);
    assert_eq!(reset("ratelimit-reset", "99999"), 3_600);
}

#[test]
fn refusals_that_name_no_wait_are_met_with_longer_and_longer_ones() {
    let (mut pace, mut now) = (Pace::new(None), Timestamp::UNIX_EPOCH);
    let mut waits = Vec::new();
    for _ in 0..12 {
        while let Err(at) = pace.admit("GET x", now) {
            now = at;
        }
        let limits = Limits::read(StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new(), now);
        pace.answered("GET x", now, &limits, now);
        waits.push(pace.closed_until(now).expect("closed").duration_since(now).as_millis());
    }
    assert_eq!(waits[..3], [100, 200, 400]);
    assert_eq!(waits[11], 60_000);
    let well = Limits::read(StatusCode::OK, &HeaderMap::new(), now);
    pace.answered("GET x", now, &well, now);
    assert_eq!(pace.refusals, 0);
}

#[test]
fn a_503_closes_only_where_it_says_how_long() {
    let now = Timestamp::UNIX_EPOCH;
    assert!(!Limits::read(StatusCode::SERVICE_UNAVAILABLE, &HeaderMap::new(), now).is_refusal());
    let headers = map(&[("retry-after", "7".into())]);
    let limits = Limits::read(StatusCode::SERVICE_UNAVAILABLE, &headers, now);
    let mut pace = Pace::new(None);
    pace.admit("GET x", now).expect("the first one goes");
    pace.answered("GET x", now, &limits, now);
    assert_eq!(pace.admit("POST y", now), Err(now + SignedDuration::from_secs(7)));
}

#[test]
fn a_limit_of_ones_own_is_kept() {
    let (mut pace, mut now) = (Pace::new(NonZeroU32::new(10)), Timestamp::UNIX_EPOCH);
    calls(&mut pace, &mut Server::window(1e9, 60), "GET x", 110, &mut now);
    assert!((10.0..11.0).contains(&seconds(now)), "{now}");
}
