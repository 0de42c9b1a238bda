//! When the next request may leave: the rates that were asked for, and the pauses that the desk asks for.
//!
//! The only user of governor. A cell of the bucket is taken at the moment of sending, after the intent's commit,
//! so that the desk never sees more than the bucket allows, not even after a commit that stalled: that time is
//! lost, not made up for in a burst. To ask for intents in good time, [`Pace::due`] says when a cell will be
//! there without taking it.
//!
//! governor cannot change a quota and cannot look without taking, which explains the shape of `Bucket`.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, Reference};
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

use crate::error::Error;

/// How long before a cell is due its intent may be asked for; also how much may wait between the intent and
/// the wire, as a share of the rate.
pub const LEAD: Duration = Duration::from_millis(20);

/// A bucket this deep absorbs the lateness of a wake-up; with one cell, 1,000 a second came to 0.9 of it.
const LATENESS: Duration = Duration::from_millis(5);

/// So many requests in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests.
    pub count: NonZeroU32,
    /// In this long.
    pub per: Duration,
}

impl Rate {
    /// The pace where nobody named one. The desk documents no limit, and the slowest of its neighbours allow
    /// 40 to 50 a minute; so this is a guess, and every run that uses it says so.
    pub const GUESS: Self = Self { count: NonZeroU32::MIN, per: Duration::from_secs(1) };

    /// Reads `5/s`, `100/min`, `3000/h`, `30/10min`. The error is a fragment that says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = || format!("{text:?} is not a rate, such as 5/s, 100/min, 3000/h or unlimited");
        let (count, per) = text.trim().split_once('/').ok_or_else(expected)?;
        let count = count.trim().replace('_', "").parse().map_err(|_| expected())?;
        let per = per.trim();
        let digits = per.find(|char: char| !char.is_ascii_digit()).ok_or_else(expected)?;
        let (times, unit) = per.split_at(digits);
        let times: u64 = if times.is_empty() { 1 } else { times.parse().map_err(|_| expected())? };
        let seconds = match unit.trim() {
            "s" | "sec" | "second" => 1,
            "m" | "min" | "minute" => 60,
            "h" | "hour" => 3_600,
            _ => return Err(expected()),
        };
        let per = times.checked_mul(seconds).filter(|seconds| (1..=86_400).contains(seconds));
        Ok(Self { count, per: Duration::from_secs(per.ok_or_else(expected)?) })
    }

    /// Reads one rate, several with commas between, or `unlimited` (none).
    pub fn parse_all(text: &str) -> Result<Vec<Self>, String> {
        if text.trim().eq_ignore_ascii_case("unlimited") {
            return Ok(Vec::new());
        }
        text.split(',').map(Self::parse).collect()
    }

    /// Requests a second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        f64::from(self.count.get()) / self.per.as_secs_f64()
    }

    fn period(&self) -> Duration {
        (self.per / self.count.get()).max(Duration::from_nanos(1))
    }

    /// The depth of its bucket: what was asked for, or enough to absorb late wake-ups, and never more than
    /// the rate itself counts.
    fn burst(&self, asked: Option<NonZeroU32>) -> NonZeroU32 {
        let lateness = (LATENESS.as_secs_f64() * self.per_second()).ceil();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to 2..=u32::MAX"
        )]
        let enough = lateness.clamp(2.0, f64::from(u32::MAX)) as u32;
        asked.unwrap_or_else(|| NonZeroU32::new(enough).unwrap_or(NonZeroU32::MIN)).min(self.count)
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.per.as_secs() {
            1 => write!(f, "{}/s", self.count),
            60 => write!(f, "{}/min", self.count),
            3_600 => write!(f, "{}/h", self.count),
            seconds if seconds % 60 == 0 => write!(f, "{}/{}min", self.count, seconds / 60),
            seconds => write!(f, "{}/{seconds}s", self.count),
        }
    }
}

/// tokio's clock for governor, so that paused time drives it in tests.
#[derive(Clone, Debug, Default)]
struct TokioClock;

/// A moment of [`TokioClock`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Moment(Instant);

impl std::ops::Add<Nanos> for Moment {
    type Output = Self;
    fn add(self, nanos: Nanos) -> Self {
        Self(self.0 + Duration::from(nanos))
    }
}

impl Reference for Moment {
    fn duration_since(&self, earlier: Self) -> Nanos {
        self.0.saturating_duration_since(earlier.0).into()
    }

    fn saturating_sub(&self, duration: Nanos) -> Self {
        Self(self.0.checked_sub(duration.into()).unwrap_or(self.0))
    }
}

impl Clock for TokioClock {
    type Instant = Moment;
    fn now(&self) -> Moment {
        Moment(Instant::now())
    }
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, TokioClock, StateInformationMiddleware>;

/// One rate's bucket.
struct Bucket {
    limiter: Limiter,
    /// Cells taken and not spent: another bucket was not ready, or a look took one (see [`Bucket::reach`]).
    in_hand: u32,
    /// When the next cell will be there; `None` if one is there now, as far as is known.
    next: Option<Instant>,
}

impl Bucket {
    fn new(rate: Rate, burst: Option<NonZeroU32>) -> Result<Self, Error> {
        let quota = Quota::with_period(rate.period())
            .ok_or_else(|| Error::Usage(format!("the rate {rate} is too fast to be kept; say unlimited")))?
            .allow_burst(rate.burst(burst));
        let limiter =
            RateLimiter::direct_with_clock(quota, TokioClock).with_middleware::<StateInformationMiddleware>();
        Ok(Self { limiter, in_hand: 0, next: None })
    }

    /// When a cell will be there, without taking it.
    fn due(&self, now: Instant) -> Instant {
        self.next.filter(|_| self.in_hand == 0).unwrap_or(now)
    }

    /// Gets a cell into the hand, or says when there will be one.
    fn reach(&mut self) -> Result<(), Instant> {
        if self.in_hand > 0 {
            return Ok(());
        }
        let remaining = match self.limiter.check() {
            Ok(snapshot) => snapshot.remaining_burst_capacity(),
            Err(not_until) => {
                let next = not_until.earliest_possible().0;
                self.next = Some(next);
                return Err(next);
            }
        };
        self.in_hand += 1;
        self.next = None;
        if remaining == 0 {
            // The bucket is empty, so asking once more takes nothing and tells when the next cell comes. If one
            // has come in the nanoseconds between, it is kept for the next request.
            match self.limiter.check() {
                Ok(_) => self.in_hand += 1,
                Err(not_until) => self.next = Some(not_until.earliest_possible().0),
            }
        }
        Ok(())
    }
}

/// The pace of one account.
pub struct Pace {
    buckets: Vec<Bucket>,
    /// Requests a second of the slowest rate; `None` when there is no limit.
    per_second: Option<f64>,
    paused_until: Option<Instant>,
    paused_from: Instant,
    paused_before: Duration,
}

impl Pace {
    /// Sets up one bucket for each rate; none means no limit.
    pub fn new(rates: &[Rate], burst: Option<NonZeroU32>) -> Result<Self, Error> {
        let buckets = rates.iter().map(|rate| Bucket::new(*rate, burst)).collect::<Result<_, _>>()?;
        let per_second = rates.iter().map(Rate::per_second).min_by(f64::total_cmp);
        Ok(Self {
            buckets,
            per_second,
            paused_until: None,
            paused_from: Instant::now(),
            paused_before: Duration::ZERO,
        })
    }

    /// How many rows may be marked as sending without being on the wire: the rate times [`LEAD`], at least one.
    #[must_use]
    pub fn ahead_max(&self) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float to integer cast saturates, and no rate is negative"
        )]
        self.per_second.map_or(usize::MAX, |rate| ((rate * LEAD.as_secs_f64()) as usize).max(1))
    }

    /// When the next request may leave. In the past or present: now.
    #[must_use]
    pub fn due(&self) -> Instant {
        let now = Instant::now();
        let cells = self.buckets.iter().map(|bucket| bucket.due(now));
        self.paused_until.into_iter().chain(cells).max().unwrap_or(now)
    }

    /// Takes the right to send one request now, or says when to ask again.
    pub fn take(&mut self) -> Result<(), Instant> {
        if let Some(until) = self.paused_until() {
            return Err(until);
        }
        for bucket in &mut self.buckets {
            bucket.reach()?;
        }
        for bucket in &mut self.buckets {
            bucket.in_hand -= 1;
        }
        Ok(())
    }

    /// Sends nothing for so long. A longer pause that is under way stays.
    pub fn pause(&mut self, wait: Duration) {
        let now = Instant::now();
        // A wait beyond what the clock can count is as good as a year; `--max-wait` has stopped it long before.
        let until = now.checked_add(wait).unwrap_or(now + Duration::from_hours(24 * 365));
        if self.paused_until.is_none_or(|paused| paused <= now) {
            self.paused_before = self.paused_total();
            self.paused_from = now;
        }
        self.paused_until = Some(self.paused_until.map_or(until, |paused| paused.max(until)));
    }

    /// Until when nothing is sent, while a pause is under way.
    #[must_use]
    pub fn paused_until(&self) -> Option<Instant> {
        self.paused_until.filter(|until| *until > Instant::now())
    }

    /// How long all pauses so far have taken.
    #[must_use]
    pub fn paused_total(&self) -> Duration {
        let current = self.paused_until.map_or(Duration::ZERO, |until| {
            until.min(Instant::now()).saturating_duration_since(self.paused_from)
        });
        self.paused_before + current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sent_in(rate: &str, burst: Option<u32>, seconds: u64) -> usize {
        let mut pace = Pace::new(&Rate::parse_all(rate).unwrap(), burst.and_then(NonZeroU32::new)).unwrap();
        let end = Instant::now() + Duration::from_secs(seconds);
        let mut sent = 0;
        loop {
            match pace.take() {
                Ok(()) => sent += 1,
                Err(next) if next >= end => return sent,
                Err(next) => tokio::time::sleep_until(next).await,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_kept_from_one_an_hour_to_thousands_a_second() {
        assert_eq!(sent_in("1/s", None, 10).await, 10);
        assert_eq!(sent_in("20/s", None, 10).await, 201);
        assert_eq!(sent_in("100/min", None, 60).await, 101);
        assert_eq!(sent_in("1/h", None, 7_200).await, 2);
        // tokio's timer counts whole milliseconds; the bucket's depth makes up for them.
        assert!((9_990..=10_005).contains(&sent_in("1000/s", None, 10).await));
        assert!((49_950..=50_025).contains(&sent_in("5000/s", None, 10).await));
    }

    #[tokio::test(start_paused = true)]
    async fn of_several_rates_the_slower_one_binds() {
        assert_eq!(sent_in("5/s,60/min", None, 60).await, 61);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_is_not_made_up_for() {
        let mut pace = Pace::new(&Rate::parse_all("100/s").unwrap(), None).unwrap();
        pace.take().unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        let burst = std::iter::from_fn(|| pace.take().ok()).count();
        assert_eq!(burst, 2, "the bucket's depth, not five seconds' worth");
    }

    /// Paused time is the monotonic clock alone: that of the wall stands still meanwhile, and does not matter.
    #[tokio::test(start_paused = true)]
    async fn f56_clock_jumps() {
        let mut pace = Pace::new(&Rate::parse_all("100/s,100/min").unwrap(), None).unwrap();
        for jump in [1, 3_600, 7 * 86_400] {
            pace.take().unwrap();
            tokio::time::advance(Duration::from_secs(jump)).await;
            let burst = std::iter::from_fn(|| pace.take().ok()).count();
            assert!(burst <= 2, "{burst} at once after {jump} s");
            tokio::time::advance(Duration::from_secs(5)).await;
        }
        // What jumps over the end of a pause finds it over, and no more than that.
        pace.pause(Duration::from_secs(60));
        tokio::time::advance(Duration::from_secs(86_400)).await;
        assert_eq!(std::iter::from_fn(|| pace.take().ok()).count(), 2);
        assert_eq!(pace.paused_total(), Duration::from_secs(60));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_everything_and_is_counted() {
        let mut pace = Pace::new(&[], None).unwrap();
        assert!(pace.take().is_ok());
        pace.pause(Duration::from_secs(3));
        pace.pause(Duration::from_secs(1));
        let until = pace.take().unwrap_err();
        assert_eq!(until - Instant::now(), Duration::from_secs(3));
        tokio::time::sleep_until(until).await;
        assert!(pace.take().is_ok());
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(pace.paused_total(), Duration::from_secs(3));
        pace.pause(Duration::from_secs(2));
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(pace.paused_total(), Duration::from_secs(5));
    }

    #[test]
    fn a_rate_is_read_as_people_write_it() {
        let read = |text| Rate::parse(text).map(|rate| (rate.count.get(), rate.per.as_secs()));
        assert_eq!(read("5/s"), Ok((5, 1)));
        assert_eq!(read(" 100 / min "), Ok((100, 60)));
        assert_eq!(read("30/10min"), Ok((30, 600)));
        assert_eq!(read("3_000/h"), Ok((3000, 3600)));
        for wrong in ["", "5", "0/s", "-1/s", "5/", "5/fortnight", "1.5/s", "5/0s", "/s", "5/99999h", "5/s/s"]
        {
            assert!(read(wrong).unwrap_err().contains("not a rate"), "{wrong}");
        }
        assert_eq!(Rate::parse_all("unlimited"), Ok(vec![]));
        assert_eq!(Rate::parse_all("5/s,100/min").unwrap().len(), 2);
        assert_eq!(Rate::parse("30/10min").unwrap().to_string(), "30/10min");
    }
}
