//! How fast one server may be called: learned from its answers and kept. Pure: time comes in as a value.
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

use crate::{retry::Backoff, target::http::retry_after};

/// Waits after refusals in a row that do not say how long, or say none.
const UNTOLD: Backoff = Backoff::new(50, 2, Duration::from_mins(1));
/// The longest wait that is not told where one is told that was too short.
const BESIDE_TOLD: SignedDuration = SignedDuration::from_secs(2);
/// Calls of this long are counted, to learn a pace from a refusal; seconds.
const COUNTED: i64 = 60;
/// A learned pace stays a little below what was let through.
const BELOW: f64 = 0.95;
/// A pace that is refused again so soon after it was learned was far too high.
const SOON: SignedDuration = SignedDuration::from_mins(2);
const SLOWER: f64 = 0.7;
/// After so long without a refusal a learned pace is raised: the limit may be another by now.
const RAISED_AFTER: SignedDuration = SignedDuration::from_mins(10);
const RAISED: f64 = 1.25;
/// Of fewer calls nothing is learned: others may have used up what the server lets through.
const LEARNED_FROM: f64 = 5.0;
/// No pace that is learned is slower, in calls a second.
const SLOWEST: f64 = 1.0 / 60.0;
/// Ends of one window as two answers tell them are no further apart.
const SAME_WINDOW: SignedDuration = SignedDuration::from_secs(2);
/// The longest that a window of calls is believed to last.
const LONGEST_WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// What an answer tells about its server's limits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// Whether the call was refused for now: 429, or 503 with `Retry-After`.
    refused: Option<Refused>,
    bucket: Option<Told>,
    window: Option<Window>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Refused {
    /// Whether there were too many calls (429).
    too_many: bool,
    /// How long the server asks to wait.
    wait: Option<SignedDuration>,
}

/// A token bucket as its server tells it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Told {
    size: f64,
    left: f64,
    per_second: f64,
}

/// Calls that are left until an instant.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Window {
    left: f64,
    resets_at: Timestamp,
}

impl Limits {
    /// Reads an answer.
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
                Some(Told { size, left, per_second: fill / interval.max(1.0) })
            }
            _ => None,
        };
        let window = remaining.zip(either("reset")).or_else(|| text("ratelimit").and_then(parameters));
        let window =
            window.filter(|_| bucket.is_none()).map(|(left, reset)| Window { left, resets_at: ends(reset, now) });
        Self { refused, bucket, window }
    }

    /// Whether the call was refused for now, and sent again later may be done.
    pub fn is_refusal(&self) -> bool {
        self.refused.is_some()
    }
}

/// The number that a value begins with, as in `100, 100;w=60`.
fn leading_number(value: &str) -> Option<f64> {
    let value = value.trim();
    let end = value.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(value.len());
    value[..end].parse().ok()
}

/// `r` and `t` of `"default";r=50;t=30`.
fn parameters(value: &str) -> Option<(f64, f64)> {
    let of = |name: &str| value.split(';').find_map(|part| part.trim().strip_prefix(name)).and_then(leading_number);
    of("r=").zip(of("t="))
}

/// When a window ends: in so many seconds, or at so many seconds since 1970, as some servers say it.
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

    /// When a call may go after so many others, if not at once.
    fn waits(&mut self, ahead: f64, now: Timestamp) -> Option<Timestamp> {
        self.fill(now);
        let missing = ahead + 1.0 - self.left;
        // Rounding leaves a little less than a whole token at the instant that was waited for.
        (missing > 0.000_1)
            .then(|| now + SignedDuration::try_from_secs_f64(missing / self.per_second).unwrap_or(LONGEST_WINDOW))
    }
}

/// Calls of one kind, as `POST Users`: servers limit some kinds more than others.
#[derive(Debug, Default)]
struct Lane {
    /// Calls sent, by second, of the last [`COUNTED`] seconds.
    sent: VecDeque<(i64, u32)>,
    /// What was learned from a refusal.
    learned: Option<Bucket>,
    /// When it was learned or raised last.
    since: Timestamp,
    window: Option<Window>,
    /// Calls of operations that were let begin, and that did not ask for their turn yet.
    promised: u32,
}

impl Lane {
    /// When a call may go after so many others, if not at once.
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

    /// A call was refused: what went before it until the server takes calls again is what the server lets through.
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

/// The pace of one server.
#[derive(Debug)]
pub struct Pace {
    /// The limit of the configuration.
    configured: Option<f64>,
    own: Option<Bucket>,
    /// As the server tells it.
    told: Option<Bucket>,
    lanes: HashMap<String, Lane>,
    /// The lanes that each kind of operation was seen to take.
    kinds: HashMap<&'static str, BTreeSet<String>>,
    closed_until: Option<Timestamp>,
    refused_at: Option<Timestamp>,
    /// Refusals in a row.
    refusals: u32,
    /// Since when every answer is a refusal, the first of them a 503; `None`: not so.
    unavailable_since: Option<Timestamp>,
}

impl Pace {
    /// A pace with this limit of its own, in calls a second.
    pub fn new(per_second: Option<NonZeroU32>) -> Self {
        Self {
            configured: per_second.map(|rate| f64::from(rate.get())),
            own: None,
            told: None,
            lanes: HashMap::new(),
            kinds: HashMap::new(),
            closed_until: None,
            refused_at: None,
            refusals: 0,
            unavailable_since: None,
        }
    }

    /// Notes that operations of this kind take this lane.
    pub fn takes(&mut self, kind: &'static str, lane: &str) {
        let lanes = self.kinds.entry(kind).or_default();
        if !lanes.contains(lane) {
            lanes.insert(lane.to_owned());
        }
    }

    /// Lets an operation of this kind begin whose calls will go soon, within `soon`; the lanes in which it is expected now.
    /// Each is given back by [`keep`](Self::keep).
    ///
    /// # Errors
    /// The instant before which it is not to begin.
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
        let buckets = [&mut self.own, &mut self.told].into_iter().flatten();
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

    /// An operation's call in this lane asked for its turn, or will not come.
    pub fn keep(&mut self, lane: &str) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.promised = lane.promised.saturating_sub(1);
        }
    }

    /// Since when every answer is a refusal, the first of them a 503; `None`: not so.
    pub fn unavailable_since(&self) -> Option<Timestamp> {
        self.unavailable_since
    }

    /// Lets a call of a kind go, or says when to ask again.
    ///
    /// # Errors
    /// The instant before which it may not go.
    pub fn admit(&mut self, lane: &str, now: Timestamp) -> Result<(), Timestamp> {
        self.own = self.own.or_else(|| self.configured.map(|rate| Bucket::full(rate, rate, now)));
        let lane = self.lanes.entry(lane.to_owned()).or_default();
        let closed = self.closed_until.filter(|until| *until > now);
        let buckets = [&mut self.own, &mut self.told].into_iter().flatten();
        let waits = buckets.map(|bucket| bucket.waits(0.0, now)).max().flatten();
        if let Some(at) = closed.max(waits).max(lane.waits(0.0, now)) {
            return Err(at);
        }
        lane.take(now);
        for bucket in [&mut self.own, &mut self.told].into_iter().flatten() {
            bucket.left -= 1.0;
        }
        Ok(())
    }

    /// Takes note of the answer to a call that was let go at `sent`.
    pub fn answered(&mut self, lane: &str, sent: Timestamp, limits: &Limits, now: Timestamp) {
        self.told = limits.bucket.map(|Told { size, left, per_second }| {
            let before = self.told.map(|mut bucket| {
                bucket.fill(now);
                bucket.left
            });
            // Calls under way have used up tokens that this answer does not know of.
            Bucket { size, left: before.map_or(left, |before| before.min(left)), per_second, at: now }
        });
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.window = match (lane.window, limits.window) {
                (Some(before), Some(told)) if told.resets_at.duration_since(before.resets_at).abs() <= SAME_WINDOW => {
                    Some(Window { left: before.left.min(told.left), ..told })
                }
                (before, told) => told.or(before),
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

    fn refused(&mut self, lane: &str, sent: Timestamp, refused: Refused, told: bool, now: Timestamp) {
        let mut wait = refused.wait.unwrap_or_default();
        // Those that were under way when the first of them was refused tell nothing new.
        if self.refused_at.is_none_or(|at| sent >= at) {
            self.refusals += 1;
            self.refused_at = Some(now);
            let more = SignedDuration::try_from(UNTOLD.after(self.refusals)).unwrap_or_default();
            wait = wait.max(if refused.wait.is_some() { more.min(BESIDE_TOLD) } else { more });
            if let Some(lane) = self.lanes.get_mut(lane).filter(|_| refused.too_many && !told) {
                lane.learn(now, wait);
            }
        }
        self.closed_until = self.closed_until.max(Some(now + wait));
    }

    /// Until when no call goes, if the server refused one.
    pub fn closed_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.closed_until.filter(|until| *until > now)
    }
}

#[cfg(test)]
mod tests;
