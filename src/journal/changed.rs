//! What a run has changed, for its report: how many rows and tickets for each field, and what a person's word settled.
//!
//! One pass over the run's rows, which keeps a count for each field and no row. Nothing here writes.

use rusqlite::params;

use super::Journal;
use super::fingerprint::has_bit;
use super::runs::Run;
use super::state::{Reason, State};
use crate::error::Error;
use crate::ticket::Field;

/// Above so many applied rows their tickets are not counted: they would have to be sorted, which takes some seconds for
/// each further million.
pub(super) const SORTED_MAX: u64 = 1_000_000;

/// CROSS holds SQLite to this order: few rows have a detail, and without statistics it would read every row of the run
/// and look for the detail of each.
const SETTLED: &str = "SELECT count(*) FROM detail CROSS JOIN row USING (key)
    WHERE key > ?1 AND key <= ?2 AND state = ?3 AND reason = ?4";

/// What applied rows have changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// How many tickets; `None`: too many rows to count them.
    pub tickets: Option<u64>,
    /// Each field that was set, in a fixed order, custom fields last.
    pub fields: Vec<ChangedField>,
}

/// A field that applied rows have set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedField {
    /// Its name.
    pub name: String,
    /// Rows that set it.
    pub rows: u64,
    /// Tickets in which it was set; `None`: too many rows to count them.
    pub tickets: Option<u64>,
}

/// Rows that were settled otherwise than by the desk's answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SettledOtherwise {
    /// Applied, because a person said that the desk has it.
    pub applied_by_word: u64,
    /// Skipped, because a person said to leave it.
    pub skipped_by_word: u64,
    /// Skipped, because later rows had set the same fields.
    pub superseded: u64,
    /// Skipped, because a person said that the desk has the same update of another run.
    pub already_applied: u64,
}

impl Journal {
    /// What the run's applied rows have changed.
    pub fn changed(&self, run: &Run) -> Result<Changed, Error> {
        let is_sorted = run.counts.applied <= SORTED_MAX;
        let order = if is_sorted { "ORDER BY ticket" } else { "" };
        let sql =
            format!("SELECT ticket, fields FROM row WHERE key > ?1 AND key <= ?2 AND state = 1 {order}");
        let read = || {
            let mut tally = Tally::default();
            let mut statement = self.conn.prepare(&sql)?;
            let mut rows = statement.query(params![run.key.key(0), run.key.key(run.counts.rows)])?;
            while let Some(row) = rows.next()? {
                let fields = row.get_ref(1)?.as_blob_or_null()?.unwrap_or_default();
                tally.add(row.get(0)?, fields);
            }
            tally.end_ticket();
            Ok(tally)
        };
        let tally: Tally = read().map_err(self.explain("read"))?;
        let fields = names(run)
            .zip(tally.fields)
            .filter(|(_, count)| count.rows > 0)
            .map(|(name, count)| ChangedField {
                name,
                rows: count.rows,
                tickets: is_sorted.then_some(count.tickets),
            })
            .collect();
        Ok(Changed { tickets: is_sorted.then_some(tally.tickets), fields })
    }

    /// How many rows were settled otherwise than by the desk's answer.
    pub fn settled_otherwise(&self, run: &Run) -> Result<SettledOtherwise, Error> {
        let count = |state: State, reason: Reason| {
            let (from, to) = (run.key.key(0), run.key.key(run.counts.rows));
            let params = params![from, to, state.code(), reason.as_str()];
            self.conn.prepare_cached(SETTLED)?.query_row(params, |row| row.get(0))
        };
        let read = || {
            Ok(SettledOtherwise {
                applied_by_word: count(State::Applied, Reason::Resolved)?,
                skipped_by_word: count(State::Skipped, Reason::Resolved)?,
                superseded: count(State::Skipped, Reason::Superseded)?,
                already_applied: count(State::Skipped, Reason::AlreadyApplied)?,
            })
        };
        read().map_err(self.explain("read"))
    }
}

/// The fields of a run by their bits.
pub(super) fn names(run: &Run) -> impl Iterator<Item = String> + '_ {
    let custom = run.custom_fields.iter().map(|id| Field::Custom(id).to_string());
    Field::STANDARD.iter().map(ToString::to_string).chain(custom)
}

#[derive(Default)]
struct Tally {
    fields: Vec<Count>,
    tickets: u64,
    /// The ticket that is being counted, and which fields its rows have set so far.
    ticket: Option<i64>,
    set: Vec<bool>,
}

#[derive(Clone, Copy, Default)]
struct Count {
    rows: u64,
    tickets: u64,
}

impl Tally {
    /// Counts a row. Rows of one ticket come one after the other, or tickets mean nothing.
    fn add(&mut self, ticket: i64, fields: &[u8]) {
        if self.ticket != Some(ticket) {
            self.end_ticket();
            self.ticket = Some(ticket);
        }
        if self.fields.len() < fields.len() * 8 {
            self.fields.resize(fields.len() * 8, Count::default());
            self.set.resize(fields.len() * 8, false);
        }
        for (bit, (count, set)) in self.fields.iter_mut().zip(&mut self.set).enumerate() {
            if has_bit(fields, bit) {
                count.rows += 1;
                *set = true;
            }
        }
    }

    fn end_ticket(&mut self) {
        self.tickets += u64::from(self.ticket.take().is_some());
        for (count, set) in self.fields.iter_mut().zip(&mut self.set) {
            count.tickets += u64::from(std::mem::take(set));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::fingerprint::{FieldBits, Fingerprint};
    use crate::journal::settle::Word;
    use crate::journal::state::{Ending, Intent, Note};
    use crate::journal::tests::{csv, end, intent, opened, settle};
    use crate::journal::transitions::Batch;
    use crate::ticket::{Changes, Priority, TicketId};

    #[test]
    fn a_ticket_counts_once_for_a_field_however_many_rows_set_it() {
        let (_folder, mut journal, run) = opened(&csv(4));
        let sets = |row: u64, ticket: &str, changes: Changes| Intent {
            ticket: TicketId::parse(ticket).unwrap(),
            fingerprint: Fingerprint::of(&changes, &FieldBits::default()).unwrap(),
            ..intent(row)
        };
        let staff = || Changes { staff: Some("ST1".to_owned()), ..Changes::default() };
        let both = Changes { priority: Some(Priority::High), ..staff() };
        let wanted =
            vec![sets(1, "7", staff()), sets(2, "8", staff()), sets(3, "7", both), sets(4, "9", staff())];
        let permits =
            journal.commit(run.key, &Batch { wanted, cursor: 5, ..Batch::default() }).unwrap().permits;
        let applied = |permit: crate::journal::state::Permit| {
            permit.send().settle(Ending::Applied, std::time::Duration::ZERO)
        };
        let outcomes = permits.into_iter().take(3).map(applied).collect();
        settle(&mut journal, &run, outcomes).unwrap();
        let field =
            |name: &str, rows, tickets| ChangedField { name: name.to_owned(), rows, tickets: Some(tickets) };
        let run = journal.run(run.key.id).unwrap().unwrap();
        let expected =
            Changed { tickets: Some(2), fields: vec![field("staff", 3, 2), field("priority", 1, 1)] };
        assert_eq!(journal.changed(&run).unwrap(), expected, "row 4 is not applied");
    }

    #[test]
    fn the_details_are_read_and_no_row_without_one() {
        let (_folder, journal, run) = opened(&csv(4));
        let mut statement = journal.conn.prepare(&format!("EXPLAIN QUERY PLAN {SETTLED}")).unwrap();
        let params =
            params![run.key.key(0), run.key.key(4), State::Skipped.code(), Reason::Resolved.as_str()];
        let steps: Vec<String> =
            statement.query_map(params, |row| row.get(3)).unwrap().map(Result::unwrap).collect();
        let expected = [
            "SEARCH detail USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
            "SEARCH row USING INTEGER PRIMARY KEY (rowid=?)",
        ];
        assert_eq!(steps, expected);
    }

    #[test]
    fn a_person_s_word_is_told_apart_from_the_desk_s() {
        let (_folder, mut journal, run) = opened(&csv(4));
        let note = Note { reason: Reason::Timeout, message: String::new(), http_status: None };
        end(&mut journal, &run, &[1, 2, 3], &Ending::InDoubt(note));
        end(&mut journal, &run, &[4], &Ending::Applied);
        let run = journal.run(run.key.id).unwrap().unwrap();
        journal.resolve(&run, Word::Applied, Some(&[(1, 1)])).unwrap();
        journal.resolve(&run, Word::Skip, Some(&[(2, 3)])).unwrap();
        let expected =
            SettledOtherwise { applied_by_word: 1, skipped_by_word: 2, ..SettledOtherwise::default() };
        assert_eq!(journal.settled_otherwise(&run).unwrap(), expected);
    }
}
