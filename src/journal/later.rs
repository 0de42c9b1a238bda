//! What later rows have done to a ticket: so that an old row never overwrites newer data.
//!
//! Needed for rows that are sent out of their turn: those that `retry` sends again, those of a failures file that
//! comes back, and those of an older run that goes on after a newer one. Later means a later row of the same run,
//! or a row of a newer run of the same desk: the order of the files, not of the clock. The look-up is a temporary
//! table of the connection that built it, made when it is first needed, because nothing else is indexed by ticket.

use std::collections::{HashMap, HashSet};

use rusqlite::params;

use super::Journal;
use super::fingerprint::has_bit;
use super::runs::{DeskId, Run, RunKey};
use super::state::State;
use crate::error::Error;
use crate::ticket::{Changes, Field, TicketId};

/// What stands against sending a row now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Later {
    /// Nothing.
    Nothing,
    /// Later rows that were applied, or found so, have set all of its fields: there is nothing left for it to say.
    Superseded(Place),
    /// Later rows that were applied have set some of its fields.
    Overlapped(Place),
    /// A later row of the ticket is in doubt.
    Blocked(Place),
}

/// A row of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The run's number.
    pub run: u64,
    /// The row's number.
    pub row: u64,
}

/// The look-up, for one desk.
#[derive(Debug)]
pub struct LaterRows {
    /// The desk's runs in order, with the names behind the bits of their rows.
    runs: Vec<(RunKey, Vec<String>)>,
}

impl Journal {
    /// Builds the look-up of all rows of the desk behind the row `from` of its run, by ticket: those applied, those in
    /// doubt, and those skipped as unchanged, which ask for their values no less for having found them there.
    pub fn build_later(&self, desk: &DeskId, from: (RunKey, u64)) -> Result<LaterRows, Error> {
        let runs: Vec<Run> = self.runs()?.into_iter().filter(|run| run.desk == *desk).collect();
        let build = || {
            // A temporary table, because there may be millions: memory stays flat.
            self.conn.execute_batch(
                "DROP TABLE IF EXISTS temp.later;
                 CREATE TEMP TABLE later (ticket INTEGER, key INTEGER, state INTEGER, fields BLOB);",
            )?;
            for run in &runs {
                let first = run.key.key(0).max(from.0.key(from.1));
                self.conn.execute(
                    "INSERT INTO temp.later SELECT ticket, key, state, fields FROM row
                     WHERE key > ?1 AND key <= ?2
                         AND (state IN (1, 5) OR state = 6 AND ticket IS NOT NULL AND digest IS NULL)",
                    params![first, run.key.key(run.counts.rows)],
                )?;
            }
            self.conn.execute_batch("CREATE INDEX temp.later_ticket ON later (ticket, key)")
        };
        build().map_err(self.explain("read"))?;
        Ok(LaterRows { runs: runs.into_iter().map(|run| (run.key, run.custom_fields)).collect() })
    }

    /// What stands against sending, now, the update that row `row` of `run` asked for, or the one in the run `except`
    /// that has come back from it. That run's own rows are left out: it keeps its own order.
    pub fn later_than(
        &self,
        later: &LaterRows,
        (run, row): (RunKey, u64),
        except: Option<RunKey>,
        ticket: TicketId,
        changes: &Changes,
    ) -> Result<Later, Error> {
        let found = self.later_rows(ticket, run.key(row)).map_err(self.explain("read"))?;
        let wanted: HashSet<String> = changes.iter().map(|(field, _)| name(field)).collect();
        // Which later row set a field last.
        let mut set: HashMap<String, Place> = HashMap::new();
        for (key, state, bits) in found {
            let Some((run, custom)) = later.runs.iter().rev().find(|(run, _)| run.key(0) < key) else {
                continue;
            };
            if except == Some(*run) {
                continue;
            }
            let place = Place { run: run.id, row: run.row(key) };
            if state == State::InDoubt.code() {
                return Ok(Later::Blocked(place));
            }
            for name in names(&bits, custom).filter(|name| wanted.contains(name)) {
                set.insert(name, place);
            }
        }
        Ok(match set.values().max_by_key(|place| (place.run, place.row)) {
            None => Later::Nothing,
            Some(place) if set.len() == wanted.len() => Later::Superseded(*place),
            Some(place) => Later::Overlapped(*place),
        })
    }

    fn later_rows(&self, ticket: TicketId, after: i64) -> rusqlite::Result<Vec<(i64, i64, Vec<u8>)>> {
        self.conn
            .prepare_cached(
                "SELECT key, state, fields FROM temp.later WHERE ticket = ?1 AND key > ?2 ORDER BY key",
            )?
            .query_map(params![ticket.as_i64(), after], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect()
    }
}

/// The names of the fields whose bits are set.
fn names<'a>(bits: &'a [u8], custom: &'a [String]) -> impl Iterator<Item = String> + 'a {
    let standard = Field::STANDARD.into_iter();
    let all = standard.chain(custom.iter().map(|id| Field::Custom(id)));
    all.enumerate().filter(|(bit, _)| has_bit(bits, *bit)).map(|(_, field)| name(field))
}

/// A field's name for comparing: no desk tells the ids of custom fields apart by case.
fn name(field: Field<'_>) -> String {
    field.to_string().to_ascii_lowercase()
}
