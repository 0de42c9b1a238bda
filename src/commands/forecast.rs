//! What sending so many updates means: which limit binds, and when it would be done by the clock.
//!
//! `check`, `run --dry-run` and the question that `run` asks show the same. It knows the pace and the window alone: a
//! desk that is slow, or asks for pauses, makes it longer, so every time is said to be the least.

use std::time::Duration;

use jiff::ZonedDateTime;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::settings::PaceSettings;
use crate::text::{duration, thousands};
use crate::until::{Bounds, WindowedEnd};

/// Below this, no time by the clock is given: it would have passed before it was read.
const CLOCK_FROM: Duration = Duration::from_secs(60);

/// What is to be expected.
pub(super) struct Forecast<'a> {
    requests: u64,
    pace: &'a PaceSettings,
    bounds: &'a Bounds,
    now: ZonedDateTime,
    /// The time that is needed for sending alone; none: no limit.
    takes: Option<Duration>,
    end: Option<WindowedEnd>,
}

/// The same for a program.
#[derive(Serialize)]
pub(super) struct Told {
    rates: Vec<String>,
    rate_is_guess: bool,
    binding_limit: Option<String>,
    concurrency: usize,
    takes_seconds: Option<u64>,
    /// RFC 3339, with the zone's name.
    finishes_at: Option<String>,
    window: Option<String>,
    window_openings: Option<u64>,
}

impl<'a> Forecast<'a> {
    /// For so many requests from now on.
    pub(super) fn new(requests: u64, pace: &'a PaceSettings, bounds: &'a Bounds) -> Self {
        let zone = bounds.window.as_ref().map_or_else(TimeZone::system, |(_, zone)| zone.clone());
        Self::from(requests, pace, bounds, jiff::Timestamp::now().to_zoned_datetime(zone))
    }

    fn from(requests: u64, pace: &'a PaceSettings, bounds: &'a Bounds, now: ZonedDateTime) -> Self {
        let takes = pace.takes(requests);
        let end = takes.and_then(|takes| bounds.end(&now, takes));
        Self { requests, pace, bounds, now, takes, end }
    }

    /// Each with its label.
    pub(super) fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![("pace", self.limit())];
        if self.requests > 0 {
            lines.push(("done", self.done()));
        }
        if let Some(limit) = self.bounds.limit.filter(|limit| *limit < self.requests) {
            let limit = thousands(limit);
            lines.push((
                "limit",
                format!("{limit} rows each time, as --limit says; the same command goes on"),
            ));
        }
        if let Some(max) = self.bounds.max_duration.filter(|max| self.takes.is_none_or(|takes| takes > *max))
        {
            let max = duration(max);
            lines.push((
                "limit",
                format!("{max} each time, as --max-duration says; the same command goes on"),
            ));
        }
        lines
    }

    fn limit(&self) -> String {
        let PaceSettings { rates, is_guess, concurrency, .. } = self.pace;
        match self.pace.binding() {
            None => format!("no limit but {concurrency} requests at a time (--concurrency)"),
            Some(_) if *is_guess => format!(
                "{}, a guess, because the desk documents no limit (--rate sets another); this is the limit that binds",
                self.pace
            ),
            Some(_) if rates.len() == 1 => format!("{}, which is the limit that binds", self.pace),
            Some(binding) => format!("{}; of these, {binding} is the limit that binds", self.pace),
        }
    }

    fn done(&self) -> String {
        let Some(takes) = self.takes else {
            return "as soon as the desk has answered; without a rate nobody knows when".to_owned();
        };
        let least = duration(takes);
        match (&self.end, &self.bounds.window) {
            (None, _) => format!("after {least} of sending, which is beyond any calendar"),
            (Some(end), Some((window, _))) if end.openings > 0 => {
                let when = match end.openings {
                    1 => "when it opens".to_owned(),
                    times => format!("each of the {} times that it opens", thousands(times)),
                };
                format!(
                    "{} at the earliest: {least} of sending in the window {window}; give the same command {when}",
                    self.clock(&end.at)
                )
            }
            (Some(_), _) if takes < CLOCK_FROM => format!("after {least} at the least"),
            (Some(end), _) => {
                format!("after {least} at the least, {} if it starts now", self.clock(&end.at))
            }
        }
    }

    /// A time by the clock, with its zone, and with its date if that is not today's.
    fn clock(&self, at: &ZonedDateTime) -> String {
        let form = match () {
            () if at.date() == self.now.date() => "%H:%M %Z",
            () if at.year() == self.now.year() => "%a %d %b %H:%M %Z",
            () => "%a %d %b %Y %H:%M %Z",
        };
        at.strftime(form).to_string()
    }

    /// For a program.
    pub(super) fn told(&self) -> Told {
        Told {
            rates: self.pace.rates.iter().map(ToString::to_string).collect(),
            rate_is_guess: self.pace.is_guess,
            binding_limit: self.pace.binding().map(ToString::to_string),
            concurrency: self.pace.concurrency,
            takes_seconds: self.takes.map(|takes| takes.as_secs_f64().ceil()).map(whole_seconds),
            finishes_at: self.end.as_ref().map(|end| end.at.strftime("%Y-%m-%dT%H:%M:%S%:z[%Q]").to_string()),
            window: self.bounds.window.as_ref().map(|(window, _)| window.to_string()),
            window_openings: self
                .end
                .as_ref()
                .filter(|_| self.bounds.window.is_some())
                .map(|end| end.openings),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float to integer cast saturates, and no duration is negative"
)]
const fn whole_seconds(seconds: f64) -> u64 {
    seconds as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pace::Rate;
    use crate::until::Window;

    fn done(requests: u64, rate: &str, window: Option<&str>, now: &str) -> String {
        let rates = Rate::parse_all(rate).unwrap();
        let pace =
            PaceSettings { rates, rate_per_ticket: None, is_guess: false, burst: None, concurrency: 8 };
        let now: ZonedDateTime = now.parse().unwrap();
        let window = window.map(|window| (Window::parse(window).unwrap(), now.time_zone().clone()));
        let bounds = Bounds { window, ..Bounds::default() };
        Forecast::from(requests, &pace, &bounds, now).done()
    }

    #[test]
    fn the_finish_is_by_the_clock_with_its_zone() {
        let now = "2026-03-10T13:00:00[Europe/Berlin]";
        assert_eq!(done(30, "1/s", None, now), "after 30s at the least");
        assert_eq!(done(7_200, "1/s", None, now), "after 2h 0m at the least, 15:00 CET if it starts now");
        assert!(done(86_400, "1/s", None, now).contains("Wed 11 Mar 13:00 CET"));
        assert!(done(86_400 * 365, "1/s", None, now).contains("Wed 10 Mar 2027 13:00 CET"));
        assert!(done(5, "unlimited", None, now).contains("nobody knows"));
        assert!(done(u64::MAX, "1/h", None, now).contains("beyond any calendar"));
    }

    #[test]
    fn a_window_makes_nights_of_it() {
        let now = "2026-03-10T13:00:00[Europe/Berlin]";
        // Eight hours a night: 20 hours are two nights and four hours.
        let said = done(72_000, "1/s", Some("22:00-06:00"), now);
        assert!(said.starts_with("Fri 13 Mar 02:00 CET at the earliest: 20h 0m of sending"), "{said}");
        assert!(said.ends_with("each of the 3 times that it opens"), "{said}");
        // It is open already, and long enough.
        let night = "2026-03-10T23:00:00[Europe/Berlin]";
        let said = done(7_200, "1/s", Some("22:00-06:00"), night);
        assert_eq!(said, "after 2h 0m at the least, Wed 11 Mar 01:00 CET if it starts now");
    }
}
