//! Rows that wait because the same update is in doubt in an older run: what becomes of them once a person says that the
//! desk has it.
//!
//! Then they have nothing left to say, and are skipped in the transaction of that word. To send the values once more would
//! be no harm to the ticket, but a second mail to whoever watches it. With any other word they are free to go, in their
//! turn.
//!
//! **When in doubt, they go.** A twin is skipped only if, in the order of the files, nothing of its ticket lies between
//! the doubt and it but other such twins: whatever does may have changed the ticket, or may be going to. Rows that were
//! never admitted may be of that ticket, too; so the look ends at the first of them.
//!
//! Nothing is indexed by ticket. Only if a twin waits, which few runs have, the rows behind the doubt are walked once.

use std::collections::{HashMap, HashSet};

use rusqlite::{OptionalExtension as _, Transaction, params};

use super::fingerprint::{SameUpdate, same_update};
use super::later::Place;
use super::runs::RunKey;
use super::schema::OPEN;
use super::state::{Note, Reason, State};
use super::transitions::{Tally, detail};
use crate::ticket::TicketId;

/// Rows of a newer run that were skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Twins {
    /// The run's number.
    pub run: u64,
    /// How many rows.
    pub rows: u64,
}

/// Skips what waits for these rows of `run`, which a person has just called applied.
pub(super) fn skip(tx: &Transaction<'_>, run: RunKey, applied: &[i64]) -> rusqlite::Result<Vec<Twins>> {
    let applied: HashSet<i64> = applied.iter().copied().collect();
    let tickets = with_twins(tx, run, &applied)?;
    let mut skipped = Vec::new();
    if tickets.is_empty() {
        return Ok(skipped);
    }
    let mut walk = Walk { applied, tickets, last: HashMap::new() };
    for Read { run, rows, is_whole } in runs_from(tx, run)? {
        let twins = walk.through(tx, run, rows)?;
        for (key, doubt) in &twins {
            skip_one(tx, *key, *doubt)?;
        }
        if !twins.is_empty() {
            let mut tally = Tally::default();
            tally.moved(State::Pending, State::Skipped, i64::try_from(twins.len()).unwrap_or(i64::MAX));
            tally.write(tx, run.id)?;
            skipped.push(Twins { run: run.id, rows: twins.len() as u64 });
        }
        if !is_whole {
            break;
        }
    }
    Ok(skipped)
}

/// The tickets of these rows for which the same update is pending in a newer run.
fn with_twins(tx: &Transaction<'_>, run: RunKey, applied: &HashSet<i64>) -> rusqlite::Result<HashSet<i64>> {
    let mut select = tx.prepare("SELECT ticket, digest FROM row WHERE key = ?1")?;
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, update(row, 0, 1)?));
    let mut doubts = HashSet::new();
    for key in applied {
        let (_, update): (i64, _) = select.query_row([key], read)?;
        doubts.insert(update);
    }
    let sql = format!(
        "SELECT ticket, digest FROM run JOIN row ON row.key > run.key_before AND row.key <= run.key_before + run.rows
         WHERE account = (SELECT account FROM run WHERE id = ?1) AND run.id > ?1
             AND run.rows > applied + failed + invalid + in_doubt + skipped AND state = 2 AND {OPEN}"
    );
    let mut tickets = HashSet::new();
    for pending in tx.prepare(&sql)?.query_map([run.id], read)? {
        let (ticket, update) = pending?;
        if doubts.contains(&update) {
            tickets.insert(ticket);
        }
    }
    Ok(tickets)
}

fn update(row: &rusqlite::Row<'_>, ticket: usize, digest: usize) -> rusqlite::Result<SameUpdate> {
    // A row that was unchanged has no digest, and is like none that has one.
    let digest = row.get_ref(digest)?.as_blob_or_null()?.unwrap_or_default();
    Ok(same_update(TicketId::from_journal(row.get(ticket)?), digest))
}

/// A run, and how many of its first rows have entries for sure.
struct Read {
    run: RunKey,
    rows: u64,
    /// These are all of its rows.
    is_whole: bool,
}

/// This run and the newer ones of its desk, in order.
fn runs_from(tx: &Transaction<'_>, run: RunKey) -> rusqlite::Result<Vec<Read>> {
    tx.prepare(
        "SELECT id, key_before, rows, cursor, rows = applied + failed + invalid + in_doubt + skipped FROM run
         WHERE account = (SELECT account FROM run WHERE id = ?1) AND id >= ?1 ORDER BY id",
    )?
    .query_map([run.id], |row| {
        let (rows, cursor): (u64, u64) = (row.get(2)?, row.get(3)?);
        let is_whole = row.get(4)? || cursor > rows;
        Ok(Read {
            run: RunKey { id: row.get(0)?, key_before: row.get(1)? },
            rows: if is_whole { rows } else { cursor.saturating_sub(1) },
            is_whole,
        })
    })?
    .collect()
}

/// From the doubts on, through the rows behind them in the order of the files.
struct Walk {
    applied: HashSet<i64>,
    tickets: HashSet<i64>,
    /// By ticket: the doubt behind which nothing but twins has been met.
    last: HashMap<i64, (SameUpdate, Place)>,
}

impl Walk {
    /// The keys of the twins among the first rows of a run, and what each waited for.
    fn through(
        &mut self,
        tx: &Transaction<'_>,
        run: RunKey,
        rows: u64,
    ) -> rusqlite::Result<Vec<(i64, Place)>> {
        let mut twins = Vec::new();
        let mut select = tx.prepare_cached(
            "SELECT key, ticket, state, digest FROM row WHERE key > ?1 AND key <= ?2 AND ticket IS NOT NULL
             ORDER BY key",
        )?;
        let mut found = select.query(params![run.key(0), run.key(rows)])?;
        while let Some(row) = found.next()? {
            let (key, ticket): (i64, i64) = (row.get(0)?, row.get(1)?);
            if !self.tickets.contains(&ticket) {
                continue;
            }
            let is_pending = row.get::<_, i64>(2)? == State::Pending.code();
            let update = update(row, 1, 3)?;
            if self.applied.contains(&key) {
                let place = Place { run: run.id, row: run.row(key) };
                self.last.insert(ticket, (update, place));
                continue;
            }
            match self.last.get(&ticket) {
                Some((doubt, place)) if is_pending && place.run < run.id && *doubt == update => {
                    twins.push((key, *place));
                }
                _ => _ = self.last.remove(&ticket),
            }
        }
        Ok(twins)
    }
}

fn skip_one(tx: &Transaction<'_>, key: i64, doubt: Place) -> rusqlite::Result<()> {
    tx.execute("UPDATE row SET state = ?2 WHERE key = ?1", params![key, State::Skipped.code()])?;
    let attempts = tx
        .query_row("SELECT attempts FROM detail WHERE key = ?1", [key], |row| row.get(0))
        .optional()?
        .unwrap_or(0);
    let note = Note {
        reason: Reason::AlreadyApplied,
        message: format!(
            "a person said that the desk has the same update: run {}, row {}",
            doubt.run, doubt.row
        ),
        http_status: None,
    };
    detail(tx, key, attempts, &note)
}

#[cfg(test)]
mod tests {
    use super::super::Journal;
    use super::super::runs::Run;
    use super::super::settle::Word;
    use super::super::state::{Ending, Intent};
    use super::super::tests::{csv, end, in_doubt, intent, note, opened, take_in};
    use super::super::transitions::Batch;
    use super::*;

    /// Run 1, whose row 1 is in doubt and whose rows behind it were applied, and `more` runs of as many rows.
    fn doubt(more: usize) -> (tempfile::TempDir, Journal, Vec<Run>) {
        let (folder, mut journal, first) = opened(&csv(3));
        end(&mut journal, &first, &[1], &in_doubt());
        end(&mut journal, &first, &[2, 3], &Ending::Applied);
        let mut runs = vec![first];
        runs.extend((0..more).map(|_| take_in(&mut journal, &csv(3))));
        (folder, journal, runs)
    }

    /// Sets aside the rows of a run that ask for the same as these of the first one; the cursor is behind them.
    fn wait(journal: &mut Journal, run: &Run, like: &[u64]) {
        let rows = like.iter().zip(1..).map(|(like, row)| Intent { row, ..intent(*like) });
        let set_aside: Vec<Intent> = rows.collect();
        let cursor = set_aside.len() as u64 + 1;
        journal.commit(run.key, &Batch { set_aside, cursor, ..Batch::default() }).unwrap();
    }

    fn said(journal: &mut Journal, run: &Run, word: Word) -> Vec<(u64, u64)> {
        let run = journal.run(run.key.id).unwrap().unwrap();
        let twins = journal.resolve(&run, word, None).unwrap().twins;
        twins.iter().map(|twins| (twins.run, twins.rows)).collect()
    }

    fn states(journal: &Journal, run: &Run) -> Vec<State> {
        journal.entry_page(run.key, 0, 3).unwrap().iter().map(|entry| entry.state).collect()
    }

    #[test]
    fn twins_in_every_newer_run_are_skipped_with_the_doubt_and_counted() {
        let (_folder, mut journal, runs) = doubt(2);
        wait(&mut journal, &runs[1], &[2, 3, 1]);
        wait(&mut journal, &runs[2], &[1, 2]);
        assert_eq!(said(&mut journal, &runs[0], Word::Applied), [(2, 1), (3, 1)]);
        assert_eq!(states(&journal, &runs[1]), [State::Pending, State::Pending, State::Skipped]);
        assert_eq!(states(&journal, &runs[2]), [State::Skipped, State::Pending]);
        let counts = journal.run(2).unwrap().unwrap().counts;
        assert_eq!((counts.skipped, counts.pending), (1, 2));
        let otherwise = journal.settled_otherwise(&runs[1]).unwrap();
        assert_eq!((otherwise.already_applied, otherwise.skipped_by_word), (1, 0));
    }

    #[test]
    fn with_another_word_they_go_in_their_turn() {
        for word in [Word::Resend, Word::Skip] {
            let (_folder, mut journal, runs) = doubt(1);
            wait(&mut journal, &runs[1], &[1]);
            assert_eq!(said(&mut journal, &runs[0], word), []);
            assert_eq!(states(&journal, &runs[1]), [State::Pending]);
        }
    }

    #[test]
    fn what_lies_between_a_doubt_and_its_twin_may_have_changed_the_ticket() {
        let other = |row| Intent { row, ticket: intent(1).ticket, ..intent(2) };
        let failed = Ending::Failed(note(Reason::Refused));
        for ending in [Some(Ending::Applied), Some(failed), None] {
            let (_folder, mut journal, runs) = doubt(2);
            let cursor = 2;
            let between = match &ending {
                None => Batch { set_aside: vec![other(1)], cursor, ..Batch::default() },
                Some(_) => Batch { wanted: vec![other(1)], cursor, ..Batch::default() },
            };
            let permits = journal.commit(runs[1].key, &between).unwrap().permits;
            let outcomes = permits
                .into_iter()
                .zip(ending.clone())
                .map(|(permit, ending)| permit.send().settle(ending, std::time::Duration::ZERO))
                .collect();
            journal.commit(runs[1].key, &Batch { outcomes, cursor: 4, ..Batch::default() }).unwrap();
            wait(&mut journal, &runs[2], &[1]);
            assert_eq!(said(&mut journal, &runs[0], Word::Applied), [], "{ending:?}");
            assert_eq!(states(&journal, &runs[2]), [State::Pending]);
        }
    }

    #[test]
    fn rows_that_were_never_admitted_may_lie_between() {
        let (_folder, mut journal, runs) = doubt(2);
        // Of run 2, nobody knows what its rows ask for.
        wait(&mut journal, &runs[2], &[1]);
        assert_eq!(said(&mut journal, &runs[0], Word::Applied), []);
        // Of a run that was cut off, row 2 was set aside, and row 1 was not.
        let (_folder, mut journal, runs) = doubt(1);
        let set_aside = vec![Intent { row: 2, ..intent(1) }];
        journal.commit(runs[1].key, &Batch { set_aside, cursor: 1, ..Batch::default() }).unwrap();
        assert_eq!(said(&mut journal, &runs[0], Word::Applied), []);
    }

    #[test]
    fn the_same_row_twice_in_one_file_is_sent_twice() {
        let (_folder, mut journal, run) = opened(&csv(3));
        end(&mut journal, &run, &[1], &in_doubt());
        let set_aside = vec![Intent { row: 2, ..intent(1) }];
        journal.commit(run.key, &Batch { set_aside, cursor: 4, ..Batch::default() }).unwrap();
        assert_eq!(said(&mut journal, &run, Word::Applied), []);
    }
}
