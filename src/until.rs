//! How long an invocation may go on sending: so many rows, so much time, or until its window closes.
//!
//! Each of these ends an invocation early and never a run: what is under way is finished, the rest stays pending, and
//! the same command goes on. The window is kept by the wall clock, because people mean that one; a duration by the
//! monotonic one, which does not jump.

use std::time::Duration;

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ZonedDateTime};
use tokio::time::Instant;

use crate::error::Error;
use crate::text::duration;

/// A daily window, `22:00-06:00`, in a time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    opens: Time,
    closes: Time,
}

impl Window {
    /// Reads `22:00-06:00`. The error is a fragment that says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (opens, closes) = text
            .split_once('-')
            .ok_or_else(|| format!("{text:?} is not a window: it needs two times, such as 22:00-06:00"))?;
        let time = |time: &str| {
            Time::strptime("%H:%M", time.trim())
                .map_err(|_| format!("{:?} is not a time of the day, such as 22:00 or 06:30", time.trim()))
        };
        let window = Self { opens: time(opens)?, closes: time(closes)? };
        if window.opens == window.closes {
            return Err(format!("{text:?} closes when it opens; leave --window out to send at any time"));
        }
        Ok(window)
    }

    /// Whether it is open. Where the clock is put back, the hour that comes twice counts twice.
    #[must_use]
    pub fn is_open(self, now: &ZonedDateTime) -> bool {
        let time = now.time();
        if self.opens < self.closes {
            self.opens <= time && time < self.closes
        } else {
            self.opens <= time || time < self.closes
        }
    }

    /// When it opens next.
    fn next(self, now: &ZonedDateTime) -> Option<ZonedDateTime> {
        next(self.opens, now)
    }

    /// When sending ends that takes so long and goes on while it is open, and how often it opens until then; `None`:
    /// in more openings than anybody waits for.
    fn end(self, now: &ZonedDateTime, takes: Duration) -> Option<WindowedEnd> {
        let mut left = SignedDuration::try_from(takes).ok()?;
        let (mut at, mut openings) = (now.clone(), 0);
        while openings <= OPENINGS_MAX {
            if !self.is_open(&at) {
                at = self.next(&at)?;
                openings += 1;
                if !self.is_open(&at) {
                    // The clock is put on over the whole of it.
                    continue;
                }
            }
            let closes = next(self.closes, &at)?;
            let open = at.duration_until(&closes);
            if left <= open {
                return Some(WindowedEnd { at: at.checked_add(left).ok()?, openings });
            }
            left -= open;
            at = closes;
        }
        None
    }

    /// An error that says when to come back, if the window is closed.
    pub fn check(self, zone: &TimeZone, now: Timestamp) -> Result<(), Error> {
        let now = now.to_zoned_datetime(zone.clone());
        if self.is_open(&now) {
            return Ok(());
        }
        let next = self
            .next(&now)
            .map_or_else(String::new, |next| format!("; it opens at {}", next.strftime("%Y-%m-%d %H:%M %Z")));
        Err(Error::Early(format!("the window {self} is closed{next}, and the same command goes on then")))
    }
}

impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.opens.strftime("%H:%M"), self.closes.strftime("%H:%M"))
    }
}

/// When it is this time next; an hour that is left out begins where the clock goes on.
fn next(time: Time, now: &ZonedDateTime) -> Option<ZonedDateTime> {
    let on = |date: Date| date.to_datetime(time).to_zoned_datetime(now.time_zone().clone()).ok();
    on(now.date()).filter(|today| today > now).or_else(|| on(now.date().tomorrow().ok()?))
}

/// How many openings of a window are looked at: more than 27 years of nights.
const OPENINGS_MAX: u64 = 10_000;

/// When sending ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowedEnd {
    /// By the clock.
    pub at: ZonedDateTime,
    /// How often the window opens from now until then.
    pub openings: u64,
}

/// What was asked for.
#[derive(Clone, Debug, Default)]
pub struct Bounds {
    /// `--limit`: rows that may go out.
    pub limit: Option<u64>,
    /// `--max-duration`
    pub max_duration: Option<Duration>,
    /// `--window`, with its zone.
    pub window: Option<(Window, TimeZone)>,
}

impl Bounds {
    /// When sending ends that takes so long and begins now, the window alone counted; `None`: beyond any calendar.
    #[must_use]
    pub fn end(&self, now: &ZonedDateTime, takes: Duration) -> Option<WindowedEnd> {
        if let Some((window, _)) = &self.window {
            return window.end(now, takes);
        }
        let at = now.checked_add(SignedDuration::try_from(takes).ok()?).ok()?;
        Some(WindowedEnd { at, openings: 0 })
    }

    /// An error if the window is closed now.
    pub fn check(&self, now: Timestamp) -> Result<(), Error> {
        self.window.as_ref().map_or(Ok(()), |(window, zone)| window.check(zone, now))
    }
}

/// The bounds of one invocation, from its start.
pub struct Until {
    bounds: Bounds,
    ends: Option<Instant>,
    /// The wall clock; the simulation has its own.
    now: fn() -> Timestamp,
    next_look: Instant,
    admitted: u64,
}

/// Between two looks at the clocks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Until {
    /// Begins to count. `now` is the wall clock.
    #[must_use]
    pub fn new(bounds: Bounds, now: fn() -> Timestamp) -> Self {
        let began = Instant::now();
        let ends = bounds.max_duration.and_then(|max| began.checked_add(max));
        Self { bounds, ends, now, next_look: began, admitted: 0 }
    }

    /// A row goes among those that may be sent.
    pub const fn admitted(&mut self) {
        self.admitted += 1;
    }

    /// Whether no further row may go out.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.bounds.limit.is_some_and(|limit| self.admitted >= limit)
    }

    /// Why an invocation ends that came to its limit with rows left.
    #[must_use]
    pub fn full(&self) -> Option<Error> {
        let limit = self.bounds.limit.filter(|_| self.is_full())?;
        Some(Error::Early(format!(
            "--limit {limit} is reached; look at how these rows fared, the same command goes on"
        )))
    }

    /// Why nothing more may be sent, once time is up.
    pub fn is_up(&mut self) -> Option<Error> {
        let now = Instant::now();
        if now < self.next_look {
            return None;
        }
        self.next_look = now + LOOK_EVERY;
        if self.ends.is_some_and(|ends| now >= ends) {
            let max = self.bounds.max_duration.map_or_else(String::new, duration);
            return Some(Error::Early(format!("--max-duration {max} is over; the same command goes on")));
        }
        self.bounds.check((self.now)()).err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> ZonedDateTime {
        text.parse().unwrap()
    }

    #[test]
    fn a_window_may_cross_midnight() {
        let night = Window::parse("22:00-06:00").unwrap();
        let day = Window::parse("9:30 - 17:00").unwrap();
        for (time, in_night, in_day) in [
            ("21:59", false, false),
            ("22:00", true, false),
            ("05:59", true, false),
            ("06:00", false, false),
            ("09:30", false, true),
            ("17:00", false, false),
        ] {
            let now = at(&format!("2026-03-10T{time}:00[Europe/Berlin]"));
            assert_eq!((night.is_open(&now), day.is_open(&now)), (in_night, in_day), "{time}");
        }
        for wrong in ["", "22-6", "22:00", "22:00-22:00", "25:00-06:00", "22:00-06:00-07:00"] {
            assert!(Window::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_window_opens_by_the_clock_on_the_wall_when_the_clock_is_changed() {
        // In Berlin 2026-03-29 has no 02:30, and 2026-10-25 has it twice.
        let window = Window::parse("02:30-04:00").unwrap();
        let spring = window.next(&at("2026-03-28T12:00:00[Europe/Berlin]")).unwrap();
        assert_eq!(spring.to_string(), "2026-03-29T03:30:00+02:00[Europe/Berlin]");
        for offset in ["+02:00", "+01:00"] {
            assert!(window.is_open(&at(&format!("2026-10-25T02:45:00{offset}[Europe/Berlin]"))));
        }
        let told = window.check(
            &TimeZone::get("Europe/Berlin").unwrap(),
            at("2026-10-24T12:00:00[Europe/Berlin]").timestamp(),
        );
        assert!(told.unwrap_err().to_string().contains("opens at 2026-10-25 02:30 CEST"));
    }

    #[test]
    fn a_window_that_the_clock_leaves_out_does_not_open_that_night() {
        // In Berlin 2026-03-29 has no 02:15 to 02:45.
        let window = Window::parse("02:15-02:45").unwrap();
        let end = window.end(&at("2026-03-28T12:00:00[Europe/Berlin]"), Duration::from_secs(60)).unwrap();
        assert_eq!(end.at, at("2026-03-30T02:16:00[Europe/Berlin]"));
        let nights = Duration::from_secs(30 * 60 * 20_000);
        assert_eq!(window.end(&at("2026-03-28T12:00:00[Europe/Berlin]"), nights), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_duration_and_a_limit_end_an_invocation() {
        let bounds = Bounds { limit: Some(2), max_duration: Some(Duration::from_secs(60)), window: None };
        let mut until = Until::new(bounds, || Timestamp::UNIX_EPOCH);
        assert!(until.is_up().is_none() && until.full().is_none());
        until.admitted();
        assert!(!until.is_full());
        until.admitted();
        assert!(until.is_full() && until.full().is_some());
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(until.is_up().is_none());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(until.is_up().unwrap().to_string().contains("--max-duration 1m"));
    }
}
