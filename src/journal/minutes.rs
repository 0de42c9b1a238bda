//! Samples: what happened in each minute of a run, for the report to draw.
//!
//! A sample is one row for each minute in which a request came back or sending waited: outcomes, latencies by bucket,
//! waits by their reason, the pace in force. It is added to in the commits that are made in any case, so that it costs no
//! `fsync`, and a kill loses what was not committed yet. A run of five days has at most 7,200 of them.
//!
//! Nothing is decided by them, and no count that a person relies on comes from here: those come from the rows.

use rusqlite::{OptionalExtension as _, Transaction, params};

use super::Journal;
use super::runs::RunKey;
use super::state::{Ending, Outcome, Reason};
use super::transitions::{Batch, Tally};
use crate::error::Error;

/// Milliseconds in a minute.
pub const MINUTE_MS: i64 = 60_000;

/// Upper bounds of the latency buckets, in milliseconds; one more bucket takes what is above.
pub const LATENCY_BOUNDS_MS: [u64; 14] =
    [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000];

/// What went on since the batch before.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Meanwhile {
    /// UNIX time in milliseconds.
    pub now_ms: i64,
    /// How long sending was paused because the desk asked for it.
    pub paused_ms: u64,
    /// How long sending waited for a desk that did not answer.
    pub away_ms: u64,
    /// The pace in force, in requests a second; `None`: no limit.
    pub per_second: Option<f64>,
}

impl Meanwhile {
    /// Whether sending waited for the desk.
    #[must_use]
    pub const fn has_waited(&self) -> bool {
        self.paused_ms > 0 || self.away_ms > 0
    }
}

/// One minute of a run.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "the words of the design")]
pub struct Minute {
    /// UNIX time / 60.
    pub minute: i64,
    pub applied: u64,
    pub failed: u64,
    pub in_doubt: u64,
    pub throttled: u64,
    pub paused_ms: u64,
    pub away_ms: u64,
    pub per_second: Option<f64>,
    pub latencies: Latencies,
}

/// How many replies took how long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latencies(pub [u64; LATENCY_BOUNDS_MS.len() + 1]);

impl Latencies {
    /// Those of a batch's requests that left.
    pub(super) fn of(outcomes: &[Outcome]) -> Self {
        let mut latencies = Self::default();
        for outcome in outcomes {
            let left = !matches!(&outcome.ending, Ending::NotApplied(note) if note.reason == Reason::NotSent);
            let took_ms = u64::try_from(outcome.latency.as_millis()).unwrap_or(u64::MAX);
            let bucket = LATENCY_BOUNDS_MS.partition_point(|bound| *bound <= took_ms);
            if let Some(count) = latencies.0.get_mut(bucket).filter(|_| left) {
                *count += 1;
            }
        }
        latencies
    }

    /// Adds others.
    pub fn add(&mut self, others: &Self) {
        for (count, more) in self.0.iter_mut().zip(others.0) {
            *count = count.saturating_add(more);
        }
    }

    /// Four bytes a bucket, little endian.
    fn from_blob(blob: &[u8]) -> Self {
        let mut latencies = Self::default();
        for (count, bytes) in latencies.0.iter_mut().zip(blob.as_chunks::<4>().0) {
            *count = u32::from_le_bytes(*bytes).into();
        }
        latencies
    }

    fn to_blob(&self) -> Vec<u8> {
        let bytes = |count: &u64| u32::try_from(*count).unwrap_or(u32::MAX).to_le_bytes();
        self.0.iter().flat_map(bytes).collect()
    }
}

/// Adds a batch to its minute, and its waits to the minutes that they lay in.
pub(super) fn write(tx: &Transaction<'_>, run: RunKey, batch: &Batch, tally: &Tally) -> rusqlite::Result<()> {
    let Meanwhile { now_ms, paused_ms, away_ms, per_second } = batch.meanwhile;
    let this = now_ms.div_euclid(MINUTE_MS);
    let waited_ms = i64::try_from(paused_ms.max(away_ms)).unwrap_or(i64::MAX);
    // A wait ended at the latest now, because what comes next is this commit.
    let first = now_ms.saturating_sub(waited_ms.min(WAIT_MS_MAX)).div_euclid(MINUTE_MS);
    for minute in first..=this {
        let ago_ms = |minute: i64| now_ms - (minute * MINUTE_MS).min(now_ms);
        let within = |ms: u64| {
            i64::try_from(ms).unwrap_or(i64::MAX).clamp(ago_ms(minute + 1), ago_ms(minute))
                - ago_ms(minute + 1)
        };
        let waits = (within(paused_ms), within(away_ms));
        if minute < this {
            add(tx, run, minute, (&Tally::default(), &Latencies::default()), waits, per_second)?;
        } else if !batch.outcomes.is_empty() || waits != (0, 0) {
            add(tx, run, minute, (tally, &Latencies::of(&batch.outcomes)), waits, per_second)?;
        }
    }
    Ok(())
}

/// No wait is told of that lies further back: `--max-wait` and `--patience` are shorter, and a clock may be wrong.
const WAIT_MS_MAX: i64 = 7 * 24 * 60 * MINUTE_MS;

fn add(
    tx: &Transaction<'_>,
    run: RunKey,
    minute: i64,
    (tally, latencies): (&Tally, &Latencies),
    (paused_ms, away_ms): (i64, i64),
    per_second: Option<f64>,
) -> rusqlite::Result<()> {
    let before: Option<Vec<u8>> = tx
        .prepare_cached("SELECT latency FROM minute WHERE run = ?1 AND minute = ?2")?
        .query_row(params![run.id, minute], |row| row.get(0))
        .optional()?;
    let mut all = latencies.clone();
    all.add(&Latencies::from_blob(&before.unwrap_or_default()));
    tx.prepare_cached(
        "INSERT INTO minute (run, minute, applied, failed, in_doubt, throttled, not_sent, paused_ms, away_ms,
             per_second, latency)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
         ON CONFLICT (run, minute) DO UPDATE SET
             applied = applied + excluded.applied, failed = failed + excluded.failed,
             in_doubt = in_doubt + excluded.in_doubt, throttled = throttled + excluded.throttled,
             not_sent = not_sent + excluded.not_sent, paused_ms = paused_ms + excluded.paused_ms,
             away_ms = away_ms + excluded.away_ms, per_second = excluded.per_second,
             latency = excluded.latency",
    )?
    .execute(params![
        run.id,
        minute,
        tally.applied,
        tally.failed,
        tally.in_doubt,
        tally.throttled,
        tally.not_sent,
        paused_ms,
        away_ms,
        per_second,
        all.to_blob()
    ])?;
    Ok(())
}

impl Journal {
    /// Hands over every sample of a run, in order.
    pub fn each_minute(&self, run: RunKey, mut take: impl FnMut(Minute)) -> Result<(), Error> {
        let mut read = || {
            let mut statement = self.conn.prepare_cached(
                "SELECT minute, applied, failed, in_doubt, throttled, paused_ms, away_ms, per_second, latency
                 FROM minute WHERE run = ?1 ORDER BY minute",
            )?;
            let mut rows = statement.query([run.id])?;
            while let Some(row) = rows.next()? {
                // Below zero where rows left a state in that minute: a doubt that was sent again, say.
                let count = |column: &str| row.get::<_, i64>(column).map(|count| count.max(0).unsigned_abs());
                take(Minute {
                    minute: row.get("minute")?,
                    applied: count("applied")?,
                    failed: count("failed")?,
                    in_doubt: count("in_doubt")?,
                    throttled: count("throttled")?,
                    paused_ms: count("paused_ms")?,
                    away_ms: count("away_ms")?,
                    per_second: row.get("per_second")?,
                    latencies: Latencies::from_blob(row.get_ref("latency")?.as_blob()?),
                });
            }
            Ok(())
        };
        read().map_err(self.explain("read"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::journal::runs::Run;
    use crate::journal::state::Note;
    use crate::journal::tests::{csv, grant, opened};

    fn minutes(journal: &Journal, run: &Run) -> Vec<Minute> {
        let mut minutes = Vec::new();
        journal.each_minute(run.key, |minute| minutes.push(minute)).unwrap();
        minutes
    }

    #[test]
    fn a_minute_adds_up_over_its_commits() {
        let (_folder, mut journal, run) = opened(&csv(9));
        let note = |reason| Note { reason, message: String::new(), http_status: None };
        let endings = [
            (Ending::Applied, 3),
            (Ending::Failed(note(Reason::Rejected)), 40),
            (Ending::NotApplied(note(Reason::Throttled)), 40_000),
            (Ending::NotApplied(note(Reason::NotSent)), 7),
        ];
        for (row, (ending, took_ms)) in (1..).zip(endings) {
            let permit = grant(&mut journal, &run, &[row]).unwrap().remove(0);
            let outcomes = vec![permit.send().settle(ending, Duration::from_millis(took_ms))];
            let meanwhile = Meanwhile {
                now_ms: 119_000 + i64::from(row == 4) * 2_000,
                per_second: Some(2.0),
                ..Meanwhile::default()
            };
            journal.commit(run.key, &Batch { outcomes, meanwhile, ..Batch::default() }).unwrap();
        }
        let [one, other] = &minutes(&journal, &run)[..] else { panic!() };
        assert_eq!((one.minute, one.applied, one.failed, one.throttled), (1, 1, 1, 1));
        assert_eq!(one.per_second, Some(2.0));
        let mut expected = Latencies::default();
        for bucket in [2, 5, 14] {
            expected.0[bucket] = 1;
        }
        assert_eq!(one.latencies, expected, "what never left took no time");
        assert_eq!((other.minute, &other.latencies), (2, &Latencies::default()));
    }

    #[test]
    fn a_wait_lies_in_the_minutes_that_it_took() {
        let (_folder, mut journal, run) = opened(&csv(1));
        let meanwhile = Meanwhile { now_ms: 190_000, paused_ms: 100_000, away_ms: 5_000, per_second: None };
        journal.commit(run.key, &Batch { meanwhile, ..Batch::default() }).unwrap();
        let waits: Vec<_> = minutes(&journal, &run)
            .iter()
            .map(|minute| (minute.minute, minute.paused_ms, minute.away_ms))
            .collect();
        assert_eq!(waits, [(1, 30_000, 0), (2, 60_000, 0), (3, 10_000, 5_000)]);
    }
}
