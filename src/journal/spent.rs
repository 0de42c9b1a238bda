//! The account's ledger: what may have been sent lately, and the desk's last pause (see [`crate::pace::ledger`]).
//!
//! Both are written in the commits that are made in any case, an entry with the intents that it counts, a pause with
//! the outcome that brought it; so neither can be missing after a crash. A second's entries are one row, and what no
//! window needs any more is taken out as new seconds come.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use uuid::Uuid;

use super::Journal;
use super::runs::DeskId;
use crate::error::Error;
use crate::pace::ledger::{Entry, Pause, Remembered, Spent};
use crate::pace::uptime::Moment;

impl Journal {
    /// What processes before this one have spent of the account's budget.
    pub fn remembered(&self, desk: &DeskId) -> Result<Remembered, Error> {
        read(&self.conn, desk).map_err(self.explain("read"))
    }
}

fn read(conn: &Connection, desk: &DeskId) -> rusqlite::Result<Remembered> {
    let moment = |boot: [u8; 16], ms| Moment { boot: Uuid::from_bytes(boot), ms };
    let mut select = conn.prepare(
        "SELECT boot, until_ms, requests FROM spent JOIN account ON account.id = spent.account
         WHERE url = ?1 AND email = ?2",
    )?;
    let spent = select
        .query_map([&desk.url, &desk.account_email], |row| {
            Ok(Spent { until: moment(row.get(0)?, row.get(1)?), requests: row.get(2)? })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let pause = conn
        .query_row(
            "SELECT boot, from_ms, wait_ms FROM pause JOIN account ON account.id = pause.account
             WHERE url = ?1 AND email = ?2",
            [&desk.url, &desk.account_email],
            |row| Ok(Pause { from: moment(row.get(0)?, row.get(1)?), wait_ms: row.get(2)? }),
        )
        .optional()?;
    Ok(Remembered { spent, pause })
}

/// Adds so many requests of the run's account to their second; where that second is new, old ones go.
pub(super) fn write_entry(
    tx: &Transaction<'_>,
    run: u64,
    entry: &Entry,
    requests: usize,
) -> rusqlite::Result<()> {
    let boot = entry.until.boot.as_bytes();
    let total: u64 = tx
        .prepare_cached(
            "INSERT INTO spent (account, boot, until_ms, requests)
             SELECT account, ?2, ?3, ?4 FROM run WHERE id = ?1
             ON CONFLICT (account, boot, until_ms) DO UPDATE SET requests = requests + excluded.requests
             RETURNING requests",
        )?
        .query_row(params![run, boot, entry.until.ms, requests], |row| row.get(0))?;
    let is_new = usize::try_from(total).is_ok_and(|total| total == requests);
    if is_new {
        tx.prepare_cached(
            "DELETE FROM spent WHERE account = (SELECT account FROM run WHERE id = ?1)
             AND CASE WHEN boot = ?2 THEN until_ms < ?3 ELSE ?3 > 0 END",
        )?
        .execute(params![run, boot, entry.useless_before_ms])?;
    }
    Ok(())
}

/// The desk's last pause is this one.
pub(super) fn write_pause(tx: &Transaction<'_>, run: u64, pause: &Pause) -> rusqlite::Result<()> {
    // Milliseconds that SQLite can hold are enough for any pause.
    let wait_ms = i64::try_from(pause.wait_ms).unwrap_or(i64::MAX);
    tx.prepare_cached(
        "INSERT OR REPLACE INTO pause (account, boot, from_ms, wait_ms)
         SELECT account, ?2, ?3, ?4 FROM run WHERE id = ?1",
    )?
    .execute(params![run, pause.from.boot.as_bytes(), pause.from.ms, wait_ms])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::tests::{csv, desk, intent, opened};
    use crate::journal::transitions::Batch;

    fn at(boot: u128, ms: u64) -> Moment {
        Moment { boot: Uuid::from_u128(boot), ms }
    }

    fn batch(row: u64, until: Moment, useless_before_ms: u64) -> Batch {
        let entry = Some(Entry { until, useless_before_ms });
        Batch { wanted: vec![intent(row)], entry, ..Batch::default() }
    }

    #[test]
    fn intents_and_what_they_spend_are_one_commit() {
        let (_folder, mut journal, run) = opened(&csv(9));
        assert_eq!(journal.remembered(&desk()).unwrap(), Remembered::default());
        journal.commit(run.key, &batch(1, at(1, 5_000), 0)).unwrap();
        journal.commit(run.key, &batch(2, at(1, 5_000), 0)).unwrap();
        journal.commit(run.key, &batch(3, at(1, 6_000), 0)).unwrap();
        let spent = |until, requests| Spent { until, requests };
        let before = journal.remembered(&desk()).unwrap();
        assert_eq!(before.spent, [spent(at(1, 5_000), 2), spent(at(1, 6_000), 1)]);
        // A batch that is refused leaves nothing behind.
        assert!(journal.commit(run.key, &batch(3, at(1, 6_000), 0)).is_err());
        assert_eq!(journal.remembered(&desk()).unwrap(), before);
        let other = DeskId::new("https://desk.example/", "others@example.com");
        assert_eq!(journal.remembered(&other).unwrap(), Remembered::default(), "each account has its own");
    }

    #[test]
    fn old_entries_go_and_those_of_another_boot_once_this_one_is_old_enough() {
        let (_folder, mut journal, run) = opened(&csv(9));
        journal.commit(run.key, &batch(1, at(1, 5_000), 0)).unwrap();
        journal.commit(run.key, &batch(2, at(2, 1_000), 0)).unwrap();
        assert_eq!(journal.remembered(&desk()).unwrap().spent.len(), 2);
        journal.commit(run.key, &batch(3, at(2, 9_000), 500)).unwrap();
        let spent = journal.remembered(&desk()).unwrap().spent;
        assert_eq!(spent.iter().map(|spent| spent.until).collect::<Vec<_>>(), [at(2, 1_000), at(2, 9_000)]);
        journal.commit(run.key, &batch(4, at(2, 10_000), 1_001)).unwrap();
        assert_eq!(journal.remembered(&desk()).unwrap().spent.len(), 2);
    }

    #[test]
    fn the_last_pause_is_remembered_and_no_limit_writes_nothing_else() {
        let (_folder, mut journal, run) = opened(&csv(9));
        let pauses = [Pause { from: at(1, 5), wait_ms: 7 }, Pause { from: at(1, 9), wait_ms: u64::MAX >> 1 }];
        for (row, pause) in (1..).zip(pauses) {
            let wanted = vec![intent(row)];
            journal.commit(run.key, &Batch { wanted, pause: Some(pause), ..Batch::default() }).unwrap();
            let remembered = Remembered { spent: Vec::new(), pause: Some(pause) };
            assert_eq!(journal.remembered(&desk()).unwrap(), remembered);
        }
    }
}
