//! Rate of calls to one server, learned from its answers. Pure: time is passed in (rule: time and chance are values).
//!
//! # Source
//! `Retry-After`: RFC 9110. `X-RateLimit-Limit`, `-Remaining`, `-Interval-Seconds`, `-FillRate`: Atlassian, "Adjusting your
//! code for rate limiting". `RateLimit-*` and `RateLimit`: IETF draft-ietf-httpapi-ratelimit-headers.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    num::NonZeroU32,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use reqwest::{
    StatusCode,
    header::{HeaderMap, RETRY_AFTER},
};

use crate::{backoff::Backoff, http::retry_after};

/// Delays after consecutive refusals that give no delay or a delay of zero.
const OWN_BACKOFF: Backoff = Backoff::new(50, 2, Duration::from_mins(1));
/// Maximum own backoff beside a delay that the server requests, which may be too short.
const MAX_OWN_DELAY: SignedDuration = SignedDuration::from_secs(2);
/// Period over which calls are counted, to learn a rate from a refusal; seconds.
const COUNTED: i64 = 60;
/// Factor of a learned rate below the rate that was let through.
const BELOW: f64 = 0.95;
/// A learned rate that is refused again within this time was far too high.
const SOON: SignedDuration = SignedDuration::from_mins(2);
const SLOWER: f64 = 0.7;
/// A learned rate is raised after this time without a refusal, because the limit may have changed.
const RAISED_AFTER: SignedDuration = SignedDuration::from_mins(10);
const RAISED: f64 = 1.25;
/// Minimum number of calls to learn from; with fewer, other clients may have used up the limit.
const LEARNED_FROM: f64 = 5.0;
/// Minimum learned rate, in calls per second.
const SLOWEST: f64 = 1.0 / 60.0;
/// Maximum difference between the reported ends of one window in two answers.
const SAME_WINDOW: SignedDuration = SignedDuration::from_secs(2);
/// Maximum length of a window of calls that is accepted.
const LONGEST_WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// Rate limits in an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// The refusal, if the server refused the call temporarily: 429, or 503 with `Retry-After`.
    refused: Option<Refused>,
    bucket: Option<ReportedBucket>,
    window: Option<Window>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Refused {
    /// Whether there were too many calls (429).
    too_many: bool,
    /// The requested delay; `None`: the answer gives none.
    wait: Option<SignedDuration>,
}

/// A token bucket as the server reports it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct ReportedBucket {
    size: f64,
    left: f64,
    per_second: f64,
}

/// Number of calls left until a time.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Window {
    left: f64,
    resets_at: Timestamp,
}

impl Limits {
    /// Reads the limits from an answer.
    pub fn read(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let number = |name: &str| text(name).and_then(leading_number);
        let either =
            |name: &str| number(&format!("x-ratelimit-{name}")).or_else(|| number(&format!("ratelimit-{name}")));
        let wait = text(RETRY_AFTER.as_str()).and_then(|value| retry_after(value, now));
        let too_many = status == StatusCode::TOO_MANY_REQUESTS;
        let refused = (too_many || status == StatusCode::SERVICE_UNAVAILABLE && wait.is_some())
            .then_some(Refused { too_many, wait });
        let remaining = either("remaining");
        let bucket = match (
            either("limit"),
            remaining,
            number("x-ratelimit-interval-seconds"),
            number("x-ratelimit-fillrate"),
        ) {
            (Some(size), Some(left), Some(interval), Some(fill)) if size >= 1.0 && fill > 0.0 => {
                Some(ReportedBucket { size, left, per_second: fill / interval.max(1.0) })
            }
            _ => None,
        };
        let window = remaining.zip(either("reset")).or_else(|| text("ratelimit").and_then(parameters));
        let window =
            window.filter(|_| bucket.is_none()).map(|(left, reset)| Window { left, resets_at: ends(reset, now) });
        Self { refused, bucket, window }
    }

    /// Whether the server refused the call temporarily, so that it may be retried later.
    pub fn is_refusal(&self) -> bool {
        self.refused.is_some()
    }
}

/// Parses the leading number of a value such as `100, 100;w=60`.
fn leading_number(value: &str) -> Option<f64> {
    let value = value.trim();
    let end = value.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(value.len());
    value[..end].parse().ok()
}

/// Parses `r` and `t` of `"default";r=50;t=30`.
fn parameters(value: &str) -> Option<(f64, f64)> {
    let of = |name: &str| value.split(';').find_map(|part| part.trim().strip_prefix(name)).and_then(leading_number);
    of("r=").zip(of("t="))
}

/// Returns the end of a window. Some servers give seconds from now, others seconds since 1970.
fn ends(reset: f64, now: Timestamp) -> Timestamp {
    let left = if reset > 1e9 { reset - now.as_duration().as_secs_f64() } else { reset };
    now + SignedDuration::try_from_secs_f64(left).unwrap_or_default().clamp(SignedDuration::ZERO, LONGEST_WINDOW)
}

/// A token bucket.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    size: f64,
    left: f64,
    per_second: f64,
    at: Timestamp,
}

impl Bucket {
    fn full(size: f64, per_second: f64, now: Timestamp) -> Self {
        Self { size, left: size, per_second, at: now }
    }

    fn fill(&mut self, now: Timestamp) {
        let since = now.duration_since(self.at).as_secs_f64().max(0.0);
        self.left = (self.left + since * self.per_second).min(self.size);
        self.at = self.at.max(now);
    }

    /// Returns when a call may go after this many others; `None`: at once.
    fn waits(&mut self, ahead: f64, now: Timestamp) -> Option<Timestamp> {
        self.fill(now);
        let missing = ahead + 1.0 - self.left;
        // Rounding leaves slightly less than a whole token at the computed time.
        (missing > 0.000_1)
            .then(|| now + SignedDuration::try_from_secs_f64(missing / self.per_second).unwrap_or(LONGEST_WINDOW))
    }
}

/// Calls of one kind, for example `POST Users`. Servers limit some kinds more than others.
#[derive(Debug, Default)]
struct Lane {
    /// Number of calls sent in each of the last [`COUNTED`] seconds.
    sent: VecDeque<(i64, u32)>,
    /// The rate learned from refusals; `None`: no refusal was learned from.
    learned: Option<Bucket>,
    /// When the rate was learned or last raised.
    since: Timestamp,
    window: Option<Window>,
    /// Calls of started operations that have not asked for their turn yet.
    promised: u32,
}

impl Lane {
    /// Returns when a call may go after this many others; `None`: at once.
    fn waits(&mut self, ahead: f64, now: Timestamp) -> Option<Timestamp> {
        if self.window.is_some_and(|window| window.resets_at <= now) {
            self.window = None;
        }
        if let Some(learned) = self.learned.as_mut().filter(|_| now.duration_since(self.since) >= RAISED_AFTER) {
            learned.per_second *= RAISED;
            self.since = now;
        }
        let window = self.window.filter(|window| window.left < ahead + 1.0).map(|window| window.resets_at);
        self.learned.as_mut().and_then(|learned| learned.waits(ahead, now)).max(window)
    }

    fn take(&mut self, now: Timestamp) {
        let second = now.as_second();
        match self.sent.back_mut() {
            Some((last, count)) if *last == second => *count += 1,
            _ => self.sent.push_back((second, 1)),
        }
        while self.sent.front().is_some_and(|(first, _)| second - first > COUNTED) {
            self.sent.pop_front();
        }
        if let Some(learned) = &mut self.learned {
            learned.left -= 1.0;
        }
        if let Some(window) = &mut self.window {
            window.left -= 1.0;
        }
    }

    /// Learns from a refused call: the calls before it, over the time until the server accepts calls again, are the
    /// rate.
    fn learn(&mut self, now: Timestamp, wait: SignedDuration) {
        let through = self.sent.iter().map(|(_, count)| f64::from(*count)).sum::<f64>() - 1.0;
        let Some((first, _)) = self.sent.front().filter(|_| through >= LEARNED_FROM) else { return };
        let span = (SignedDuration::from_secs(now.as_second() - first) + wait).as_secs_f64();
        let mut per_second = through / span.max(1.0) * BELOW;
        if let Some(learned) = &self.learned {
            let again = now.duration_since(self.since) < SOON;
            per_second = per_second.min(learned.per_second * if again { SLOWER } else { 1.0 });
        }
        self.learned = Some(Bucket { left: 0.0, ..Bucket::full(1.0, per_second.max(SLOWEST), now) });
        self.since = now;
    }
}

/// The rate of one server.
#[derive(Debug)]
pub struct Pace {
    /// The configured limit, in calls per second; `None`: unlimited.
    configured: Option<f64>,
    own: Option<Bucket>,
    /// The token bucket that the server reports.
    reported: Option<Bucket>,
    lanes: HashMap<String, Lane>,
    /// The lanes that each kind of operation is known to use.
    kinds: HashMap<&'static str, BTreeSet<String>>,
    closed_until: Option<Timestamp>,
    refused_at: Option<Timestamp>,
    /// Number of consecutive refusals.
    refusals: u32,
    /// Time of the first 503 since which every answer is a refusal; `None`: no such time.
    unavailable_since: Option<Timestamp>,
}

impl Pace {
    /// Creates a pace with a configured limit, in calls per second; `None`: unlimited.
    pub fn new(per_second: Option<NonZeroU32>) -> Self {
        Self {
            configured: per_second.map(|rate| f64::from(rate.get())),
            own: None,
            reported: None,
            lanes: HashMap::new(),
            kinds: HashMap::new(),
            closed_until: None,
            refused_at: None,
            refusals: 0,
            unavailable_since: None,
        }
    }

    /// Records that operations of this kind use this lane.
    pub fn takes(&mut self, kind: &'static str, lane: &str) {
        let lanes = self.kinds.entry(kind).or_default();
        if !lanes.contains(lane) {
            lanes.insert(lane.to_owned());
        }
    }

    /// Starts an operation of this kind if its calls can go within `soon`. Returns the lanes that are now reserved for
    /// it; [`keep`](Self::keep) releases each.
    ///
    /// # Errors
    /// The time before which the operation must not start.
    pub fn begin(&mut self, kind: &str, soon: SignedDuration, now: Timestamp) -> Result<Vec<String>, Timestamp> {
        let kinds: Vec<String> = self.kinds.get(kind).into_iter().flatten().cloned().collect();
        let mut ahead = 0;
        let mut waits = None;
        for name in &kinds {
            if let Some(lane) = self.lanes.get_mut(name) {
                waits = lane.waits(f64::from(lane.promised), now).max(waits);
                ahead = lane.promised.max(ahead);
            }
        }
        let buckets = [&mut self.own, &mut self.reported].into_iter().flatten();
        waits = buckets.map(|bucket| bucket.waits(f64::from(ahead), now)).max().flatten().max(waits);
        let begins = waits.map(|at| at - soon).max(self.closed_until(now)).filter(|at| *at > now);
        if let Some(at) = begins {
            return Err(at);
        }
        for name in &kinds {
            self.lanes.entry(name.clone()).or_default().promised += 1;
        }
        Ok(kinds)
    }

    /// Releases a reserved lane: the operation's call asked for its turn or will not come.
    pub fn keep(&mut self, lane: &str) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.promised = lane.promised.saturating_sub(1);
        }
    }

    /// Returns the time of the first 503 since which every answer is a refusal; `None`: no such time.
    pub fn unavailable_since(&self) -> Option<Timestamp> {
        self.unavailable_since
    }

    /// Admits a call of a kind, or returns when to ask again.
    ///
    /// # Errors
    /// The time before which the call must not go.
    pub fn admit(&mut self, lane: &str, now: Timestamp) -> Result<(), Timestamp> {
        self.own = self.own.or_else(|| self.configured.map(|rate| Bucket::full(rate, rate, now)));
        let lane = self.lanes.entry(lane.to_owned()).or_default();
        let closed = self.closed_until.filter(|until| *until > now);
        let buckets = [&mut self.own, &mut self.reported].into_iter().flatten();
        let waits = buckets.map(|bucket| bucket.waits(0.0, now)).max().flatten();
        if let Some(at) = closed.max(waits).max(lane.waits(0.0, now)) {
            return Err(at);
        }
        lane.take(now);
        for bucket in [&mut self.own, &mut self.reported].into_iter().flatten() {
            bucket.left -= 1.0;
        }
        Ok(())
    }

    /// Learns from the answer to a call that was admitted at `sent`.
    pub fn answered(&mut self, lane: &str, sent: Timestamp, limits: &Limits, now: Timestamp) {
        self.reported = limits.bucket.map(|ReportedBucket { size, left, per_second }| {
            let before = self.reported.map(|mut bucket| {
                bucket.fill(now);
                bucket.left
            });
            // Calls in progress have used up tokens that this answer does not count.
            Bucket { size, left: before.map_or(left, |before| before.min(left)), per_second, at: now }
        });
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.window = match (lane.window, limits.window) {
                (Some(before), Some(reported))
                    if reported.resets_at.duration_since(before.resets_at).abs() <= SAME_WINDOW =>
                {
                    Some(Window { left: before.left.min(reported.left), ..reported })
                }
                (before, reported) => reported.or(before),
            };
        }
        self.unavailable_since = match limits.refused {
            Some(Refused { too_many: false, .. }) => self.unavailable_since.or(Some(now)),
            Some(_) => self.unavailable_since,
            None => None,
        };
        match limits.refused {
            Some(refused) => self.refused(lane, sent, refused, limits.bucket.is_some(), now),
            None if self.refused_at.is_none_or(|at| sent >= at) => self.refusals = 0,
            None => {}
        }
    }

    fn refused(&mut self, lane: &str, sent: Timestamp, refused: Refused, reported: bool, now: Timestamp) {
        let mut wait = refused.wait.unwrap_or_default();
        // Refusals of calls sent before the first refusal carry no new information.
        if self.refused_at.is_none_or(|at| sent >= at) {
            self.refusals += 1;
            self.refused_at = Some(now);
            let more = SignedDuration::try_from(OWN_BACKOFF.after(self.refusals)).unwrap_or_default();
            wait = wait.max(if refused.wait.is_some() { more.min(MAX_OWN_DELAY) } else { more });
            if let Some(lane) = self.lanes.get_mut(lane).filter(|_| refused.too_many && !reported) {
                lane.learn(now, wait);
            }
        }
        self.closed_until = self.closed_until.max(Some(now + wait));
    }

    /// Returns the time before which no call may go, if the server refused one temporarily.
    pub fn closed_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.closed_until.filter(|until| *until > now)
    }
}

#[cfg(test)]
mod tests;
