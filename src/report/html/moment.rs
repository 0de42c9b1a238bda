//! Times on the clock of the machine that wrote the page, with their zone.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::report::summary::rfc_3339;
use crate::text::on_clock;

/// The clock by which a page tells times.
pub(super) struct Clock {
    pub(super) zone: TimeZone,
    pub(super) now: Timestamp,
}

/// A moment, for people and for machines.
pub(super) struct Moment {
    /// `Tue 24 Nov 2026, 22:30:05 CET`
    pub(super) text: String,
    /// RFC 3339, in UTC.
    pub(super) iso: String,
}

impl Clock {
    /// Tells a UNIX time in milliseconds. One that no calendar has is told as nothing.
    pub(super) fn at(&self, unix_ms: i64) -> Moment {
        Moment { text: self.form(unix_ms, "%a %-d %b %Y, %H:%M:%S %Z"), iso: rfc_3339(unix_ms) }
    }

    /// As strftime has it.
    pub(super) fn form(&self, unix_ms: i64, form: &str) -> String {
        on_clock(unix_ms, self.zone.clone(), form)
    }

    /// The zone and what it is called at a time, `Europe/Berlin (CET, UTC+01:00)`.
    pub(super) fn told(&self, unix_ms: i64) -> String {
        let short = self.form(unix_ms, "%Z, UTC%:z");
        match self.zone.iana_name() {
            Some("UTC") => "UTC".to_owned(),
            Some(name) => format!("{name} ({short})"),
            None => short,
        }
    }
}
