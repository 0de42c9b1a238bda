//! The first reading: every row is read and mapped before anything is sent.
//!
//! It finds what makes the input unusable, reports each row that is invalid, and notes where rows begin, so
//! that a resume need not start at the first byte. It sends nothing and keeps no row.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, Hasher as _};

use foldhash::{fast, quality};

use super::shapes::Ids;
use super::{Mark, Records, Row, ahead};
use crate::error::Error;
use crate::mapping::{Asks, Complaint, Mapping, Miss, Room, Target, Trouble};
use crate::text::thousands;
use crate::ticket::{Field, Value};

/// A mark is noted for the first row, and for every 1,024th after it.
pub const MARK_EVERY_ROWS: u64 = 1_024;

/// Among how many rows identical ones are looked for: 8 bytes each are kept.
pub(crate) const IDENTICAL_AMONG_ROWS: usize = 1_000_000;

/// How many bits of a row's hash are kept besides its ticket's.
const HASH_BITS: u32 = 44;

/// More custom fields than any desk has: the ids must be wrong, and they are kept in memory.
const CUSTOM_FIELDS_MAX: usize = 10_000;

/// How many texts that a lookup table does not resolve are told apart.
pub const UNRESOLVED_MAX: usize = 1_000;

/// How many invalid rows `--strict` names.
const STRICT_NAMES: usize = 5;

/// What the first reading found.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// How many rows there are, invalid ones included.
    pub rows: u64,
    /// How many of them are invalid.
    pub invalid: u64,
    /// Where rows begin, in order; see [`MARK_EVERY_ROWS`].
    pub marks: Vec<Mark>,
    /// The ids of the custom fields that are set, in order of first appearance.
    pub custom_fields: Vec<String>,
    /// Rows whose ticket and changes equal an earlier row's, looked for among the first million.
    pub identical: u64,
    /// Ids that look unlike the others, or unlike any.
    pub odd_ids: Vec<OddIds>,
    /// The texts that a lookup table does not resolve, in order of first appearance, at most [`UNRESOLVED_MAX`].
    pub unresolved: Vec<Unresolved>,
    /// In how many further places such a text stood, once that many were known.
    pub unresolved_more: u64,
}

/// Ids that are perhaps none, of one shape or of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OddIds {
    /// In how many rows, where that is counted.
    pub rows: Option<u64>,
    /// What is odd, with the first line.
    pub text: String,
}

/// A text that a lookup table does not resolve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved {
    /// The field and the text as it was first written.
    pub miss: Miss,
    /// In how many rows.
    pub rows: u64,
    /// The first of them, and its line.
    pub first: (u64, u64),
}

/// A row that cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// Its number, from 1.
    pub row: u64,
    /// The line on which it begins, from 1.
    pub line: u64,
    /// What is wrong, with line and column, and what to do.
    pub message: String,
    /// The same in parts.
    pub trouble: Trouble,
}

/// A row as it was read, and what it asks for or why it cannot be sent.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The row.
    pub row: Row<'a>,
    /// What became of it.
    pub result: Result<&'a Asks<'a>, &'a Invalid>,
}

/// Reads everything that is left in `records`. Each row is told to `on_row` as it is met, whose error ends the
/// reading. With `strict`, invalid rows are [`Error::Input`] once everything was read.
pub fn survey(
    records: &mut Records,
    mapping: &Mapping,
    strict: bool,
    on_row: &mut dyn FnMut(Seen<'_>) -> Result<(), Error>,
) -> Result<Survey, Error> {
    let mut named = Vec::new();
    let found = read_all(records, mapping, &mut |seen| {
        if let Err(invalid) = seen.result
            && strict
            && named.len() < STRICT_NAMES
        {
            named.push(invalid.message.clone());
        }
        on_row(seen)
    })?;
    if strict {
        found.refuse_invalid(&named)?;
    }
    Ok(found)
}

fn read_all(
    records: &mut Records,
    mapping: &Mapping,
    on_row: &mut dyn FnMut(Seen<'_>) -> Result<(), Error>,
) -> Result<Survey, Error> {
    let mut found = Survey::default();
    let mut misses = Misses::default();
    let mut fields = CustomFields::default();
    let mut ids = Ids::default();
    // As much as there may be at once: what is not written to costs nothing, and growing leaves holes behind.
    let mut hashes = Vec::with_capacity(IDENTICAL_AMONG_ROWS);
    let state = quality::RandomState::default();
    ahead::each(records, &mut |batch| {
        let mut room = Room::default();
        for row in batch.rows() {
            if found.rows.is_multiple_of(MARK_EVERY_ROWS) {
                found.marks.push(row.mark());
            }
            found.rows += 1;
            match mapping.asks(row, &mut room) {
                Ok(asks) => {
                    on_row(Seen { row, result: Ok(&asks) })?;
                    fields.learn(&asks, row.line(), &mut ids)?;
                    ids.see(&asks, row.line());
                    if hashes.len() < IDENTICAL_AMONG_ROWS {
                        hashes.push(hash(&state, &asks));
                    }
                }
                Err(Complaint::Input(error)) => return Err(error),
                Err(Complaint::Row(trouble)) => {
                    found.invalid += 1;
                    for miss in mapping.misses(row) {
                        misses.note(&mut found, miss, row);
                    }
                    let message = trouble.to_string();
                    let invalid = Invalid { row: row.number(), line: row.line(), message, trouble };
                    on_row(Seen { row, result: Err(&invalid) })?;
                }
            }
        }
        Ok(())
    })?;
    found.custom_fields = fields.ids;
    found.odd_ids = ids.odd();
    found.identical = repeated(hashes);
    Ok(found)
}

/// The custom fields so far, in order of first appearance.
#[derive(Default)]
struct CustomFields {
    ids: Vec<String>,
    known: HashSet<String, fast::RandomState>,
}

impl CustomFields {
    fn learn(&mut self, asks: &Asks<'_>, line: u64, ids: &mut Ids) -> Result<(), Error> {
        if asks.custom() == 0 {
            return Ok(());
        }
        let custom = asks.iter().filter_map(|(field, _)| match field {
            Field::Custom(id) => Some(id),
            _ => None,
        });
        for (nth, id) in custom.enumerate() {
            // The rows of a CSV have them in one order.
            if self.ids.get(nth).is_some_and(|known| known == id) || self.known.contains(id) {
                continue;
            }
            if self.ids.len() >= CUSTOM_FIELDS_MAX {
                return Err(too_many_fields(line));
            }
            ids.see_custom_field(id, line);
            self.known.insert(id.to_owned());
            self.ids.push(id.to_owned());
        }
        Ok(())
    }
}

/// Tells misses apart without regard to case and outer blanks, as the tables do.
#[derive(Default)]
struct Misses(HashMap<(Target, String), usize>);

impl Misses {
    fn note(&mut self, found: &mut Survey, miss: Miss, row: Row<'_>) {
        let key = (miss.target.clone(), miss.value.trim().to_lowercase());
        if let Some(known) = self.0.get(&key).and_then(|index| found.unresolved.get_mut(*index)) {
            known.rows += 1;
        } else if found.unresolved.len() < UNRESOLVED_MAX {
            self.0.insert(key, found.unresolved.len());
            let first = (row.number(), row.line());
            found.unresolved.push(Unresolved { miss, rows: 1, first });
        } else {
            found.unresolved_more += 1;
        }
    }
}

/// How many hashes equal another that counts as the first.
fn repeated(mut hashes: Vec<u64>) -> u64 {
    let all = hashes.len();
    hashes.sort_unstable();
    hashes.dedup();
    (all - hashes.len()) as u64
}

/// The lowest bits of the ticket, then a hash of all that is asked for. Most inputs are in the order of their tickets, and
/// so are these then, which need no sorting. Rows that are not identical count as such by mistake where both agree: 44
/// bits of hash, for rows of one ticket.
fn hash(state: &quality::RandomState, asks: &Asks<'_>) -> u64 {
    let mut hasher = state.build_hasher();
    let ticket = asks.ticket().get();
    hasher.write_u64(ticket);
    asks.iter().for_each(|(field, value)| {
        let (is_json, text) = match value {
            Value::Text(text) => (0, text),
            Value::Json(json) => (1, json),
        };
        let index = field.standard_index().unwrap_or(Field::STANDARD.len());
        hasher.write_usize(2 * index + is_json);
        if let Field::Custom(id) = field {
            hasher.write(id.as_bytes());
        }
        hasher.write(text.as_bytes());
    });
    ticket << HASH_BITS | hasher.finish() >> (u64::BITS - HASH_BITS)
}

fn too_many_fields(line: u64) -> Error {
    Error::Input(format!(
        "line {line}: there are over {} different custom fields up to here, which no desk has; \
         look whether the ids are right",
        thousands(CUSTOM_FIELDS_MAX as u64)
    ))
}

impl Survey {
    /// What `--strict` makes of invalid rows: an error that names these, and counts the others.
    pub fn refuse_invalid(&self, named: &[String]) -> Result<(), Error> {
        if self.invalid == 0 {
            return Ok(());
        }
        let listed = match (named, self.invalid.saturating_sub(named.len() as u64)) {
            ([], _) => String::new(),
            (named, 0) => format!(":\n  {}", named.join("\n  ")),
            (named, more) => format!(":\n  {}\n  and {} more", named.join("\n  "), thousands(more)),
        };
        Err(Error::Input(format!(
            "{} of {} rows cannot be sent, and --strict wants every one; correct them, or leave out --strict{listed}",
            thousands(self.invalid),
            thousands(self.rows),
        )))
    }
}
