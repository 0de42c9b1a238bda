//! A cell's value as the text that a CSV would have.
//!
//! Values are taken as they are stored, not as they are shown: `50 %` is 0.5, and a number that a format fills up with
//! zeros has none. What holds no value becomes one of the texts of [`spoiled`], so that its row is invalid.

use calamine::{DataRef, ExcelDateTime};

use crate::input::spoiled;

/// From here on a number has more than the 15 digits that spreadsheets keep of what is typed.
const EXACT_MAX: f64 = 1e15;

/// The first day number that spreadsheets have no date for, 10000-01-01.
const DAYS_END: f64 = 2_958_466.0;

/// The text of a cell; empty: there is nothing in it.
pub(super) fn text(value: &DataRef<'_>, has_formula: bool) -> String {
    match value {
        DataRef::Empty if has_formula => spoiled::NOT_CALCULATED.to_owned(),
        DataRef::Empty => String::new(),
        DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => text.clone(),
        DataRef::SharedString(text) => (*text).to_owned(),
        DataRef::Int(number) if number.unsigned_abs() < 1_000_000_000_000_000 => number.to_string(),
        #[expect(clippy::cast_precision_loss, reason = "its digits are in doubt already")]
        DataRef::Int(number) => spoiled::lost_digits(*number as f64),
        DataRef::Float(number) => decimal(*number),
        DataRef::Bool(value) => if *value { "TRUE" } else { "FALSE" }.to_owned(),
        DataRef::DateTime(time) if time.is_duration() => duration(time.as_f64()),
        DataRef::DateTime(time) => date(time),
        DataRef::Error(error) => error.to_string(),
    }
}

/// A number without exponent and without more digits than spreadsheets show: 0.1 + 0.2 is 0.3.
fn decimal(number: f64) -> String {
    if !number.is_finite() {
        return "#NUM!".to_owned();
    }
    if number.abs() >= EXACT_MAX {
        return spoiled::lost_digits(number);
    }
    let shown = format!("{number:.14e}").parse::<f64>().unwrap_or(number);
    // Not "-0".
    if shown == 0.0 { "0".to_owned() } else { shown.to_string() }
}

/// ISO 8601: a date, a time of day, or both.
fn date(time: &ExcelDateTime) -> String {
    let days = time.as_f64();
    if !(0.0..DAYS_END).contains(&days) {
        return "#NUM!".to_owned();
    }
    let (year, month, day, hour, minute, second, milli) = time.to_ymd_hms_milli();
    let mut clock = format!("{hour:02}:{minute:02}:{second:02}");
    if milli > 0 {
        clock = format!("{clock}.{milli:03}");
    }
    let date = format!("{year:04}-{month:02}-{day:02}");
    match (days < 1.0, clock.as_str()) {
        (true, _) => clock,
        (false, "00:00:00") => date,
        (false, _) => format!("{date}T{clock}"),
    }
}

/// Hours, minutes and seconds, as `[h]:mm:ss` shows them.
fn duration(days: f64) -> String {
    let seconds = (days * 86_400.0).round();
    if !seconds.is_finite() || seconds.abs() >= EXACT_MAX {
        return "#NUM!".to_owned();
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole, positive and below 2^53"
    )]
    let whole = seconds.abs() as u64;
    let sign = if seconds < 0.0 { "-" } else { "" };
    format!("{sign}{:02}:{:02}:{:02}", whole / 3_600, whole / 60 % 60, whole % 60)
}

#[cfg(test)]
mod tests {
    use calamine::{CellErrorType, ExcelDateTimeType};

    use super::*;

    fn dated(days: f64) -> String {
        text(&DataRef::DateTime(ExcelDateTime::new(days, ExcelDateTimeType::DateTime, false)), false)
    }

    #[test]
    fn numbers_have_neither_exponent_nor_more_digits_than_are_shown() {
        for (number, expected) in [
            (1001.0, "1001"),
            (-7.0, "-7"),
            (-0.0, "0"),
            (999_999_999_999_999.0, "999999999999999"),
            (0.1 + 0.2, "0.3"),
            (1_000.999_999_999_999_9, "1001"),
            (1e-7, "0.0000001"),
            (1234.5, "1234.5"),
            (f64::NAN, "#NUM!"),
        ] {
            assert_eq!(text(&DataRef::Float(number), false), expected);
        }
    }

    #[test]
    fn a_number_that_has_lost_digits_is_no_value() {
        for number in [1e15, 1_234_567_890_123_456_789.0, -1e15, 1e300] {
            let told = spoiled::complaint(&text(&DataRef::Float(number), false)).unwrap();
            assert!(told.contains("format the column as text"), "{told}");
        }
        assert!(spoiled::complaint(&text(&DataRef::Int(i64::MIN), false)).is_some());
    }

    #[test]
    fn dates_are_iso_and_so_are_times() {
        assert_eq!(dated(45_943.0), "2025-10-13");
        assert_eq!(dated(45_943.541), "2025-10-13T12:59:02.400");
        assert_eq!(dated(0.5), "12:00:00");
        assert_eq!(dated(1.0), "1900-01-01");
        assert_eq!(dated(-1.0), "#NUM!");
        assert_eq!(dated(f64::INFINITY), "#NUM!");
        let lasting = ExcelDateTime::new(1.5, ExcelDateTimeType::TimeDelta, false);
        assert_eq!(text(&DataRef::DateTime(lasting), false), "36:00:00");
    }

    #[test]
    fn what_is_no_value_is_told_as_that() {
        assert!(
            spoiled::complaint(&text(&DataRef::Error(CellErrorType::NA), true)).unwrap().contains("#N/A")
        );
        assert!(spoiled::complaint(&text(&DataRef::Empty, true)).unwrap().contains("without its result"));
        assert_eq!(text(&DataRef::String(String::new()), true), "");
        assert_eq!(text(&DataRef::Bool(true), false), "TRUE");
        assert_eq!(text(&DataRef::SharedString("007"), false), "007");
    }
}
