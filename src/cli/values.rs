//! Values as people write them: rates, times, lists of rows.
//!
//! Each parser refuses what it does not know with a text that shows the right form; none of them guesses.

use std::time::Duration;

use crate::pace::Rate;

/// The rates of `--rate`; none: unlimited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rates(pub Vec<Rate>);

pub(super) fn parse_rates(text: &str) -> Result<Rates, String> {
    Rate::parse_all(text).map(Rates)
}

/// The numbers of rows that `--expect-rows` allows, both ends among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    from: u64,
    to: u64,
}

impl Expected {
    /// Whether an input may have so many rows.
    #[must_use]
    pub const fn holds(self, rows: u64) -> bool {
        self.from <= rows && rows <= self.to
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.from, self.to) {
            (from, to) if from == to => write!(f, "{from}"),
            (from, u64::MAX) => write!(f, "{from}.."),
            (from, to) => write!(f, "{from}..{to}"),
        }
    }
}

impl std::str::FromStr for Expected {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            || format!("{text:?} is no number of rows, such as 9000..11000, 9000.., ..11000 or 10000");
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        let end = |end: &str, open: u64| match end.trim() {
            "" => Ok(open),
            digits => digits.parse().map_err(|_| expected()),
        };
        let (from, to) = (end(from, 0)?, end(to, u64::MAX)?);
        if matches!(text.trim(), "" | "..") || from > to { Err(expected()) } else { Ok(Self { from, to }) }
    }
}

/// The rows of `--rows`: inclusive ranges, in order, none twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows(pub Vec<(u64, u64)>);

pub(super) fn parse_rows(text: &str) -> Result<Rows, String> {
    let expected = || format!("{text:?} is not a list of rows, such as 5,9-12");
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: u64 = first.trim().parse().map_err(|_| expected())?;
        let last: u64 = last.trim().parse().map_err(|_| expected())?;
        if first == 0 || last < first { Err(expected()) } else { Ok((first, last)) }
    };
    let mut ranges = text.split(',').map(range).collect::<Result<Vec<_>, _>>()?;
    ranges.sort_unstable();
    match ranges.array_windows().find(|[(_, last), (first, _)]| first <= last) {
        Some([_, (first, _)]) => Err(format!("row {first} is named twice in {text:?}")),
        None => Ok(Rows(ranges)),
    }
}

/// Reads `30s`, `1h30m`, `15m`, `500ms`, `30d` (days of 24 hours); at most 366 days, so that no sum of such times
/// overflows a clock.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    const MAX: Duration = Duration::from_hours(366 * 24);
    time(text)
        .filter(|duration| !duration.is_zero() && *duration <= MAX)
        .ok_or_else(|| format!("{text:?} is not a time, such as 30s, 15m or 1h30m, of at most 366 days"))
}

/// A time that is not below zero, of units up to weeks.
fn time(text: &str) -> Option<Duration> {
    let span: jiff::Span = text.parse().ok()?;
    let time = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(time).ok()
}

/// How old something has to be, in whole days if it was written so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age(pub Duration);

/// Reads `90d`, `12w`, `36h`; a day has 24 hours, a month or a year has no fixed length and is refused.
pub(super) fn parse_age(text: &str) -> Result<Age, String> {
    time(text).map(Age).ok_or_else(|| format!("{text:?} is not an age, such as 90d, 12w or 36h"))
}

impl std::fmt::Display for Age {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const DAY: Duration = Duration::from_hours(24);
        let days = self.0.as_secs() / DAY.as_secs();
        if days > 0 && self.0.as_secs().is_multiple_of(DAY.as_secs()) {
            return f.write_str(&crate::text::counted(days, "day"));
        }
        f.write_str(&crate::text::duration(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_read_in_days_and_weeks_and_not_in_months() {
        let days = |text: &str| parse_age(text).unwrap().0.as_secs() / 86_400;
        assert_eq!(["90d", "12w", "48h", "0d"].map(days), [90, 84, 2, 0]);
        assert_eq!(parse_age("90d").unwrap().to_string(), "90 days");
        for wrong in ["", "90", "3mo", "1y", "-1d", "old"] {
            assert!(parse_age(wrong).unwrap_err().contains("90d"), "{wrong}");
        }
    }

    #[test]
    fn rows_are_numbers_and_ranges_none_twice() {
        assert_eq!(parse_rows("9-12, 5"), Ok(Rows(vec![(5, 5), (9, 12)])));
        for wrong in ["", "0", "5-4", "a", "1,,2", "5,4-6"] {
            assert!(parse_rows(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_expected_number_of_rows_is_a_number_or_a_range() {
        let holds = |text: &str, rows| text.parse::<Expected>().unwrap().holds(rows);
        assert!(holds("9..11", 9) && holds("9..11", 11) && !holds("9..11", 8) && !holds("9..11", 12));
        assert!(
            holds("9..", 1_000) && !holds("9..", 8) && holds("..9", 0) && holds("9", 9) && !holds("9", 10)
        );
        for wrong in ["", "..", "11..9", "a", "-1", "1...2"] {
            assert!(wrong.parse::<Expected>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_time_is_read_as_people_write_it() {
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5_400)));
        assert_eq!(parse_duration("15m"), Ok(Duration::from_secs(900)));
        assert_eq!(parse_duration("8784h"), Ok(Duration::from_hours(8784)));
        assert_eq!(parse_duration("30d"), Ok(Duration::from_hours(720)));
        assert_eq!(parse_duration("1w 1d"), Ok(Duration::from_hours(192)));
        for wrong in ["", "15", "0s", "-5s", "soon", "1mo", "8784h 1ns", "9000000000000000000s"] {
            assert!(parse_duration(wrong).unwrap_err().contains("30s, 15m"), "{wrong}");
        }
    }
}
