//! The account's ledger: what may have been sent lately, by the account and, where each has a limit, by ticket; the
//! desk's last pause, and the slower pace after it (see [`crate::pace::ledger`]).
//!
//! All are written in the commits that are made in any case, an entry with the intents that it counts, a pause and a
//! pace with the outcome that brought them; so none can be missing after a crash. A second's entries are one row, or one
//! for each ticket, and what no window needs any more is taken out as new seconds come.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use uuid::Uuid;

use super::Journal;
use super::runs::DeskId;
use super::state::Intent;
use crate::error::Error;
use crate::pace::ledger::{Entry, Pause, Remembered, Slowed, Spent, SpentByTicket};
use crate::pace::uptime::Moment;
use crate::ticket::TicketId;

impl Journal {
    /// What processes before this one have spent of the account's budget.
    pub fn remembered(&self, desk: &DeskId) -> Result<Remembered, Error> {
        read(&self.conn, desk).map_err(self.explain("read"))
    }
}

fn read(conn: &Connection, desk: &DeskId) -> rusqlite::Result<Remembered> {
    let account: Option<(i64, Option<f64>)> = conn
        .query_row(
            "SELECT id, slowed_to FROM account WHERE url = ?1 AND email = ?2",
            [&desk.url, &desk.account_email],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let Some((account, slowed_to)) = account else { return Ok(Remembered::default()) };
    let moment = |boot: [u8; 16], ms| Moment { boot: Uuid::from_bytes(boot), ms };
    let spent = conn
        .prepare("SELECT boot, until_ms, requests FROM spent WHERE account = ?1")?
        .query_map([account], |row| {
            Ok(Spent { until: moment(row.get(0)?, row.get(1)?), requests: row.get(2)? })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let spent_by_ticket = conn
        .prepare("SELECT boot, until_ms, requests, ticket FROM spent_by_ticket WHERE account = ?1")?
        .query_map([account], |row| {
            let spent = Spent { until: moment(row.get(0)?, row.get(1)?), requests: row.get(2)? };
            Ok(SpentByTicket { ticket: TicketId::from_journal(row.get(3)?), spent })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let pause = conn
        .query_row("SELECT boot, from_ms, wait_ms FROM pause WHERE account = ?1", [account], |row| {
            Ok(Pause { from: moment(row.get(0)?, row.get(1)?), wait_ms: row.get(2)? })
        })
        .optional()?;
    Ok(Remembered { spent, spent_by_ticket, pause, slowed_to })
}

/// Adds the requests to their second, of the run's account and of each ticket if these have limits; where that second is
/// new, old ones go.
pub(super) fn write_entry(
    tx: &Transaction<'_>,
    run: u64,
    entry: &Entry,
    requests: &[Intent],
) -> rusqlite::Result<()> {
    let boot = entry.until.boot.as_bytes();
    let total: u64 = tx
        .prepare_cached(
            "INSERT INTO spent (account, boot, until_ms, requests)
             SELECT account, ?2, ?3, ?4 FROM run WHERE id = ?1
             ON CONFLICT (account, boot, until_ms) DO UPDATE SET requests = requests + excluded.requests
             RETURNING requests",
        )?
        .query_row(params![run, boot, entry.until.ms, requests.len()], |row| row.get(0))?;
    let is_new = usize::try_from(total).is_ok_and(|total| total == requests.len());
    if is_new {
        tx.prepare_cached(
            "DELETE FROM spent WHERE account = (SELECT account FROM run WHERE id = ?1)
             AND CASE WHEN boot = ?2 THEN until_ms < ?3 ELSE ?3 > 0 END",
        )?
        .execute(params![run, boot, entry.useless_before_ms])?;
        // Another command may count longer: each entry says itself for how long it is of use. One of another boot is at
        // least as old as this boot.
        tx.prepare_cached(
            "DELETE FROM spent_by_ticket WHERE account = (SELECT account FROM run WHERE id = ?1)
             AND CASE WHEN boot = ?2 THEN until_ms ELSE 0 END + counts_ms < ?3",
        )?
        .execute(params![run, boot, entry.now_ms])?;
    }
    let Some(counts_ms) = entry.ticket_counts_ms else { return Ok(()) };
    let mut insert = tx.prepare_cached(
        "INSERT INTO spent_by_ticket (account, boot, until_ms, ticket, requests, counts_ms)
         SELECT account, ?2, ?3, ?4, 1, ?5 FROM run WHERE id = ?1
         ON CONFLICT (account, boot, until_ms, ticket) DO UPDATE
             SET requests = requests + 1, counts_ms = max(counts_ms, excluded.counts_ms)",
    )?;
    for intent in requests {
        insert.execute(params![run, boot, entry.until.ms, intent.ticket.as_i64(), counts_ms])?;
    }
    Ok(())
}

/// A permit that was counted against its ticket at that moment goes back, so that no request of it ever left. Its entry may be
/// gone by now, as one that counts no more.
pub(super) fn uncount(
    tx: &Transaction<'_>,
    run: u64,
    ticket: TicketId,
    until: Moment,
) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "UPDATE spent_by_ticket SET requests = requests - 1
         WHERE account = (SELECT account FROM run WHERE id = ?1) AND boot = ?2 AND until_ms = ?3 AND ticket = ?4",
    )?
    .execute(params![run, until.boot.as_bytes(), until.ms, ticket.as_i64()])?;
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

/// The pace is slower than asked for, or is so no more.
pub(super) fn write_slowed(tx: &Transaction<'_>, run: u64, slowed: &Slowed) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "UPDATE account SET slowed_to = ?2 WHERE id = (SELECT account FROM run WHERE id = ?1)",
    )?
    .execute(params![run, slowed.per_second])?;
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
        let entry = Some(Entry { until, now_ms: 0, useless_before_ms, ticket_counts_ms: None });
        Batch { wanted: vec![intent(row)], entry, ..Batch::default() }
    }

    /// The same where each ticket has a window of so many milliseconds of its own, at this moment.
    fn by_ticket(row: u64, until: Moment, counts_ms: u64, now_ms: u64) -> Batch {
        let entry = Entry { until, now_ms, useless_before_ms: 0, ticket_counts_ms: Some(counts_ms) };
        Batch { wanted: vec![intent(row)], entry: Some(entry), ..Batch::default() }
    }

    /// Tickets and how often, by the moments.
    fn tickets(journal: &Journal) -> Vec<(u64, u64, u64)> {
        let spent = journal.remembered(&desk()).unwrap().spent_by_ticket;
        let told = |one: &SpentByTicket| {
            (one.ticket.as_i64().cast_unsigned(), one.spent.until.ms, one.spent.requests)
        };
        spent.iter().map(told).collect()
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
    fn what_each_ticket_is_sent_is_one_commit_with_its_intent_and_kept_as_long_as_it_counts() {
        let (_folder, mut journal, run) = opened(&csv(9));
        let mut commit = |batch: &Batch| journal.commit(run.key, batch).map(|_| tickets(&journal));
        assert_eq!(commit(&batch(1, at(1, 5_000), 0)).unwrap(), [], "without a limit for each there is none");
        commit(&by_ticket(2, at(1, 5_000), 60_000, 4_000)).unwrap();
        let back = commit(&by_ticket(3, at(1, 6_000), 1_000, 4_000)).unwrap();
        assert_eq!(back, [(2, 5_000, 1), (3, 6_000, 1)]);
        assert!(commit(&by_ticket(3, at(1, 6_000), 1_000, 4_000)).is_err());
        assert_eq!(tickets(&journal), back, "a batch that is refused leaves nothing behind");
        let mut commit = |batch: &Batch| journal.commit(run.key, batch).map(|_| tickets(&journal));
        // A command that counts for a second only does not forget what counts for a minute.
        assert_eq!(
            commit(&by_ticket(4, at(1, 9_000), 1_000, 7_001)).unwrap(),
            [(2, 5_000, 1), (4, 9_000, 1)],
            "what counts no more goes with the first entry of a second"
        );
        // After another boot all of it counts as if sent when that began, whoever looks.
        assert_eq!(commit(&by_ticket(5, at(2, 1_000), 1_000, 1_000)).unwrap().len(), 3);
        let entry =
            Entry { until: at(2, 70_000), now_ms: 60_001, useless_before_ms: 0, ticket_counts_ms: None };
        let after = Batch { wanted: vec![intent(6)], entry: Some(entry), ..Batch::default() };
        assert_eq!(commit(&after).unwrap(), []);
    }

    #[test]
    fn a_ticket_s_requests_within_a_second_are_one_entry() {
        let (_folder, mut journal, run) = opened(&csv(9));
        for row in [1, 2] {
            let mut batch = by_ticket(row, at(1, 5_000), 60_000, 4_000);
            batch.wanted.iter_mut().for_each(|intent| intent.ticket = TicketId::from_journal(7));
            journal.commit(run.key, &batch).unwrap();
        }
        assert_eq!(tickets(&journal), [(7, 5_000, 2)]);
    }

    #[test]
    fn a_permit_that_is_given_back_no_longer_counts_against_its_ticket() {
        let (_folder, mut journal, run) = opened(&csv(9));
        let counted = |row, until| by_ticket(row, at(1, until), 60_000, 4_000);
        let one = journal.commit(run.key, &counted(1, 5_000)).unwrap().permits;
        let mut other = counted(2, 5_000);
        other.wanted.iter_mut().for_each(|intent| intent.ticket = TicketId::from_journal(1));
        let _sent = journal.commit(run.key, &other).unwrap();
        let later = journal.commit(run.key, &counted(3, 6_000)).unwrap().permits;
        assert_eq!(tickets(&journal), [(1, 5_000, 2), (3, 6_000, 1)]);
        // With the next intent of the same ticket in the same batch, as the pipeline does.
        let again = Batch { given_back: one, ..counted(1, 6_000) };
        let again = journal.commit(run.key, &again).unwrap().permits;
        assert_eq!(tickets(&journal), [(1, 5_000, 1), (1, 6_000, 1), (3, 6_000, 1)], "what was sent counts");
        let given_back = again.into_iter().chain(later).collect();
        journal.commit(run.key, &Batch { given_back, ..Batch::default() }).unwrap();
        assert_eq!(tickets(&journal), [(1, 5_000, 1), (1, 6_000, 0), (3, 6_000, 0)]);
        assert_eq!(
            journal.remembered(&desk()).unwrap().spent.iter().map(|spent| spent.requests).sum::<u64>(),
            4
        );
    }

    #[test]
    fn the_slower_pace_is_remembered_until_it_has_grown_back() {
        let (_folder, mut journal, run) = opened(&csv(9));
        for per_second in [Some(2.5), Some(0.1), None] {
            journal
                .commit(run.key, &Batch { slowed: Some(Slowed { per_second }), ..Batch::default() })
                .unwrap();
            assert_eq!(journal.remembered(&desk()).unwrap().slowed_to, per_second);
        }
    }

    #[test]
    fn the_last_pause_is_remembered_and_no_limit_writes_nothing_else() {
        let (_folder, mut journal, run) = opened(&csv(9));
        let pauses = [Pause { from: at(1, 5), wait_ms: 7 }, Pause { from: at(1, 9), wait_ms: u64::MAX >> 1 }];
        for (row, pause) in (1..).zip(pauses) {
            let wanted = vec![intent(row)];
            journal.commit(run.key, &Batch { wanted, pause: Some(pause), ..Batch::default() }).unwrap();
            let remembered = Remembered { pause: Some(pause), ..Remembered::default() };
            assert_eq!(journal.remembered(&desk()).unwrap(), remembered);
        }
    }
}
