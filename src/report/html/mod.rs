//! `report.html`: how a run went, for a person who was not there, on one page that needs nothing else.
//!
//! No script, no link to anything, no row's contents: row numbers, tickets where one has to look them up, and the desk's
//! words. Counts come from the rows, charts from the samples ([`crate::journal::minutes`]); where the two differ, the rows
//! are right. All text is escaped by the template, and control and direction characters are taken out of the whole page
//! at the end, so that nothing can be forgotten. Every list has an end, so that the page of ten million rows can be
//! opened, too.
//!
//! | Module | Its one job |
//! |---|---|
//! | `words` | the headline, and what outcomes mean |
//! | `moment` | times on the reader's clock, with their zone |
//! | `timeline` | throughput, pace and waits, by column |
//! | `tables` | latencies, reasons, rows in doubt, invocations |

mod moment;
mod tables;
mod timeline;
mod words;

use std::path::Path;

use askama::Template;
use jiff::tz::TimeZone;

use super::next::{Flags, Step};
use super::summary::Tallied;
use crate::error::Error;
use crate::journal::archive::Archive;
use crate::journal::minutes::Latencies;
use crate::journal::runs::Run;
use crate::text::{clean_whole, duration};
use moment::{Clock, Moment};
use tables::{Attempted, Doubts, FieldRow, LatencyTable, ReasonRow};
use timeline::{Span, Timeline};
use words::{Count, Headline, OutcomeRow};

/// The page, as the template fills it in.
#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    version: &'static str,
    run: &'a Run,
    rows: Count,
    in_doubt: Count,
    requests: Count,
    throttled: Count,
    headline: Headline,
    input: &'a str,
    began: Moment,
    ended: Option<Moment>,
    times: Times,
    outcomes: Vec<OutcomeRow>,
    otherwise: Vec<String>,
    next: &'a [Step],
    flags: &'a Flags,
    doubts: Doubts,
    reasons: Vec<ReasonRow>,
    timeline: Option<Timeline>,
    /// What stands for the chart of a run that is too short for one; `None`: nothing was sent.
    brief: Option<String>,
    latencies: Option<LatencyTable>,
    tickets: Option<Count>,
    fields: Vec<FieldRow>,
    more_fields: Count,
    attempted: Attempted,
    zone: String,
    /// When it was written, if the run has no end: else it tells the same whenever it is written.
    written: Option<Moment>,
}

/// How long, and how fast.
struct Times {
    /// At work, all invocations together; `None`: nobody wrote it down.
    worked: Option<String>,
    /// Applied rows, by the time at work.
    speed: Option<String>,
}

/// Writes the page of a run. `reasons` and `next` are what the summary and the terminal tell.
pub(super) fn write(
    path: &Path,
    journal: &dyn Archive,
    run: &Run,
    reasons: &[Tallied],
    next: &[Step],
    flags: &Flags,
) -> Result<(), Error> {
    let clock = Clock { zone: TimeZone::system(), now: jiff::Timestamp::now() };
    let page = render(journal, run, reasons, next, flags, &clock)?;
    super::replace(path, |out| out.write_all(page.as_bytes()))
}

fn render(
    journal: &dyn Archive,
    run: &Run,
    reasons: &[Tallied],
    next: &[Step],
    flags: &Flags,
    clock: &Clock,
) -> Result<String, Error> {
    let mut invocations = Vec::new();
    journal.each_invocation(run.key, &mut |invocation| invocations.push(invocation))?;
    let mut latencies = Latencies::default();
    let mut minutes: Option<(i64, i64)> = None;
    let mut waits_ms = [0; 2];
    journal.each_minute(run.key, &mut |minute| {
        latencies.add(&minute.latencies);
        waits_ms = [waits_ms[0] + minute.paused_ms, waits_ms[1] + minute.away_ms];
        minutes = Some((minutes.map_or(minute.minute, |(first, _)| first), minute.minute));
    })?;
    let spans = timeline::spans(&invocations, minutes.map(|(_, last)| last));
    let changed = journal.changed(run)?;
    let (fields, more_fields) = tables::fields(&changed);
    let now_ms = || clock.now.as_millisecond();
    let times = times(run, &spans);
    let last_pace = invocations.last().map_or("", |invocation| invocation.pace.as_str());
    let page = Page {
        version: env!("CARGO_PKG_VERSION"),
        run,
        rows: Count(run.counts.rows),
        in_doubt: Count(run.counts.in_doubt),
        requests: Count(run.attempts),
        throttled: Count(run.throttled),
        headline: words::headline(run, invocations.last()),
        input: run.input.source(),
        began: clock.at(run.started_ms),
        ended: run.ended_ms.map(|ended_ms| clock.at(ended_ms)),
        outcomes: words::outcomes(&run.counts),
        otherwise: words::otherwise(&journal.settled_otherwise(run)?, run.unchanged),
        next,
        flags,
        doubts: tables::doubts(journal, run)?,
        reasons: tables::reasons(reasons),
        timeline: timeline::draw(journal, run.key, minutes, &spans, clock)?,
        brief: (run.attempts > 0).then(|| words::brief(&times, last_pace, waits_ms)),
        times,
        latencies: tables::latencies(&latencies),
        tickets: changed.tickets.map(Count),
        fields,
        more_fields,
        attempted: tables::attempted(&invocations, clock),
        zone: clock.told(run.ended_ms.unwrap_or_else(now_ms)),
        written: run.ended_ms.is_none().then(|| clock.at(now_ms())),
    };
    let html = page.render().map_err(|error| {
        Error::Machine(format!("failed to fill in the report: {error}; this is a bug in deskload"))
    })?;
    let lines = html.lines().map(clean_whole).filter(|line| !line.is_empty());
    Ok(lines.flat_map(|line| [line, "\n".to_owned()]).collect())
}

fn times(run: &Run, spans: &[Span]) -> Times {
    let worked_ms: i64 = spans.iter().map(Span::ms).sum();
    let worked = std::time::Duration::from_millis(worked_ms.max(0).unsigned_abs());
    let speed = (worked.as_secs() >= 1 && run.counts.applied > 0).then(|| {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let per_second = run.counts.applied as f64 / worked.as_secs_f64();
        words::speed(per_second)
    });
    Times { worked: (!spans.is_empty()).then(|| duration(worked)), speed }
}

#[cfg(test)]
mod tests;
