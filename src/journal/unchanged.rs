//! `--only-changed`: which rows of a new input ask for what their tickets were given last.
//!
//! Decided once, between the first pass and the opening of the run, whose transaction writes the answer down: a run
//! never asks again, so that a crash and a resume cannot change it. Two sorted streams are merged, what the input asks
//! for and what the desk's runs have done to the same tickets. Memory is one bit for each row and the fields of one
//! ticket; the sorting is SQLite's, in its temporary files. Nothing here writes to the journal.
//!
//! **When in doubt, changed.** A field counts as known only if the last row that may have set it was applied, and not
//! too long ago for `--max-age`. Whatever else may have set it since makes it unknown, and so does an earlier row of
//! the same input that is going to be sent, and any row in doubt, which may still arrive. A row is unchanged if all of
//! its fields are known and equal. The other mistake, taking a change for none, takes two different values of one field
//! with the same six bytes of digest: once in 2^48 comparisons.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, Row, Rows, params};

use super::Journal;
use super::fingerprint::{DIGEST_BYTES, FieldBits, FieldNumbers, Fingerprint, has_bit};
use super::runs::{DeskId, Run};
use crate::error::Error;
use crate::input::Seen;
use crate::mapping::Asks;

/// What the rows of a new input ask for, noted in a temporary table as they are read.
#[derive(Debug, Default)]
pub struct Asked {
    bits: FieldBits,
}

/// What a new input is compared with.
pub struct Compared<'a> {
    /// Whose tickets they are.
    pub desk: &'a DeskId,
    /// Which values count.
    pub recent: Recent,
    /// Called now and then; its error ends the comparing.
    pub look: &'a dyn Fn() -> Result<(), Error>,
}

/// The rows of a new input that need not be sent.
#[derive(Debug)]
pub struct Unchanged {
    /// A bit for each row.
    bits: Vec<u64>,
    count: u64,
    permits: u64,
}

impl Unchanged {
    /// As these words of bits say, in whatever order; those that are missing have none. `permits` is what
    /// [`Self::permits`] gives.
    pub(super) fn of(words: impl Iterator<Item = (u64, u64)>, permits: u64) -> Self {
        let mut found = Self { bits: Vec::new(), count: 0, permits };
        for (word, bits) in words {
            let place = usize::try_from(word).unwrap_or(usize::MAX);
            if found.bits.len() <= place {
                found.bits.resize(place + 1, 0);
            }
            if let Some(word) = found.bits.get_mut(place) {
                *word |= bits;
            }
            found.count += u64::from(bits.count_ones());
        }
        found
    }

    /// How many permits the desk's account had been given by then, where others may have been given more since.
    pub(super) const fn permits(&self) -> u64 {
        self.permits
    }

    /// How many.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Whether row `row` is one of them.
    #[must_use]
    pub fn holds(&self, row: u64) -> bool {
        let (word, bit) = place(row);
        self.bits.get(word).is_some_and(|word| word >> bit & 1 == 1)
    }

    fn add(&mut self, row: u64) {
        let (word, bit) = place(row);
        if let Some(word) = self.bits.get_mut(word) {
            *word |= 1 << bit;
            self.count += 1;
        }
    }
}

fn place(row: u64) -> (usize, u64) {
    (usize::try_from(row / 64).unwrap_or(usize::MAX), row % 64)
}

/// When a run must have begun for its values to count, in UNIX milliseconds. It is the run that has a time, not the
/// row: a value may be sent a little early again, never late. A time to come is that of a clock that was wrong.
#[derive(Clone, Copy, Debug)]
pub struct Recent {
    /// Not before.
    pub from_ms: i64,
    /// Not after: now.
    pub to_ms: i64,
}

impl Recent {
    /// Whatever its age.
    pub const ANY: Self = Self { from_ms: i64::MIN, to_ms: i64::MAX };
}

impl Journal {
    /// Makes room for what the rows of a new input ask for.
    pub fn begin_comparing(&mut self) -> Result<Asked, Error> {
        self.conn
            .execute_batch(
                "DROP TABLE IF EXISTS temp.asked;
                 CREATE TEMP TABLE asked (row INTEGER PRIMARY KEY, ticket INTEGER, fields BLOB, digest BLOB);",
            )
            .map_err(self.explain("write"))?;
        Ok(Asked::default())
    }

    /// Notes what a row asks for, if it is valid.
    pub fn note_asked(&mut self, asked: &mut Asked, seen: Seen<'_>) -> Result<(), Error> {
        let Some(update) = seen.result.ok().and_then(Asks::update) else { return Ok(()) };
        asked.bits.learn(update.changes());
        let Some(print) = Fingerprint::of(update.changes(), &asked.bits) else { return Ok(()) };
        let insert = |conn: &Connection| {
            conn.prepare_cached(
                "INSERT INTO temp.asked (row, ticket, fields, digest) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![
                seen.row.number(),
                update.ticket().as_i64(),
                print.fields(),
                print.values()
            ])
        };
        insert(&self.conn).map(drop).map_err(self.explain("write"))
    }

    /// Compares what `rows` rows ask for with what this journal knows of the desk. `look` is called now and then, and
    /// its error ends the comparing.
    pub fn unchanged(
        &self,
        asked: &Asked,
        desk: &DeskId,
        rows: u64,
        recent: Recent,
        look: &dyn Fn() -> Result<(), Error>,
    ) -> Result<Unchanged, Error> {
        let runs: Vec<Run> = self.runs()?.into_iter().filter(|run| run.desk == *desk).collect();
        let mut fields = FieldNumbers::default();
        let numbers: HashMap<u64, Vec<usize>> =
            runs.iter().map(|run| (run.key.id, fields.of(&run.custom_fields))).collect();
        let own = fields.of(asked.bits.custom());
        let (words, _) = place(rows);
        let found = Unchanged { bits: vec![0; words + 1], count: 0, permits: 0 };
        let failed = self.explain("compare the input with");
        self.compare(found, &own, &numbers, (desk, recent, rows), look).map_err(&failed)?
    }

    fn compare(
        &self,
        mut found: Unchanged,
        own: &[usize],
        numbers: &HashMap<u64, Vec<usize>>,
        (desk, recent, rows): (&DeskId, Recent, u64),
        look: &dyn Fn() -> Result<(), Error>,
    ) -> rusqlite::Result<Result<Unchanged, Error>> {
        let mut wanted =
            self.conn.prepare("SELECT ticket, row, fields, digest FROM temp.asked ORDER BY 1, 2")?;
        let mut wanted = wanted.query([])?;
        let of_tickets = if rows <= OF_TICKETS_ROWS_MAX { OF_TICKETS } else { "" };
        let done = DONE.replace("{of_tickets}", of_tickets).replace("{may_have_changed}", MAY_HAVE_CHANGED);
        let mut done = self.conn.prepare(&done)?;
        let mut done = Done {
            rows: done.query(params![desk.url, desk.account_email, recent.from_ms, recent.to_ms])?,
            next: None,
        };
        done.advance()?;
        let plain = FieldNumbers::default().of(&[]);
        let mut ticket = Ticket::default();
        let mut seen: u64 = 0;
        while let Some(row) = wanted.next()? {
            if seen.is_multiple_of(LOOK_EVERY_ROWS)
                && let Err(error) = look()
            {
                return Ok(Err(error));
            }
            seen += 1;
            let id: i64 = row.get(0)?;
            if ticket.id != Some(id) {
                ticket = Ticket { id: Some(id), ..Ticket::default() };
                while let Some(past) = done.up_to(id) {
                    if past.ticket == id {
                        // A run that has come in since they were listed: `check` holds nothing.
                        let numbers = numbers.get(&past.run).map_or(plain.as_slice(), Vec::as_slice);
                        ticket.was_given(past, numbers);
                    }
                    done.advance()?;
                }
            }
            if ticket.has_all(each(blob(row, 2)?, blob(row, 3)?, own)) {
                found.add(row.get(1)?);
            } else {
                ticket.is_going_to_get(each(blob(row, 2)?, blob(row, 3)?, own));
            }
        }
        Ok(Ok(found))
    }
}

/// Rows between two looks at whether somebody wants to stop.
const LOOK_EVERY_ROWS: u64 = 4_096;

/// Whether a row that is neither applied nor in doubt may have changed its ticket, by its `detail`. Not so is one that was
/// skipped before it was ever sent, or that is pending or failed after one attempt at the most. More attempts may have had
/// a doubt among them, and so may a row of which a person said what to do with it, or one that was overlapped while it
/// waited for that.
pub(super) const MAY_HAVE_CHANGED: &str = "(attempts > (state <> 6) OR reason IN ('resolved', 'overlapped'))";

/// What the desk's runs have done, or may have, to the tickets of the input, in the order of tickets and then of the
/// files, which is that of time: rows that go out of their turn never overtake (see [`super::later`]). Known is what
/// was applied in time. Left out is what is proven to have changed nothing ([`MAY_HAVE_CHANGED`]).
const DONE: &str = "
    SELECT row.ticket, run.id, row.fields, row.digest, state IN (0, 5), state = 1 AND started_ms BETWEEN ?3 AND ?4
    FROM run JOIN account ON account.id = run.account
        JOIN row ON row.key > run.key_before AND row.key <= run.key_before + run.rows
    WHERE url = ?1 AND email = ?2 AND row.digest IS NOT NULL
        AND (state IN (0, 1, 5) OR (SELECT {may_have_changed} FROM detail WHERE detail.key = row.key))
        {of_tickets}
    ORDER BY row.ticket, row.key";

/// Of a small input, only the rows of its tickets are sorted. Of a large one all are: a million tickets in no order do
/// not fit SQLite's cache, and to look each row's up took 8.7 s where sorting a million rows took 2.7 s.
const OF_TICKETS: &str = "AND row.ticket IN (SELECT ticket FROM temp.asked)";
const OF_TICKETS_ROWS_MAX: u64 = 65_536;

/// A row that may have changed its ticket.
struct Past {
    ticket: i64,
    run: u64,
    fields: Vec<u8>,
    digest: Vec<u8>,
    /// It is in doubt, or on its way.
    in_doubt: bool,
    /// It was applied, and not too long ago.
    is_known: bool,
}

/// The stream of them.
struct Done<'a> {
    rows: Rows<'a>,
    next: Option<Past>,
}

impl Done<'_> {
    fn advance(&mut self) -> rusqlite::Result<()> {
        let past = |row: &Row<'_>| -> rusqlite::Result<Past> {
            Ok(Past {
                ticket: row.get(0)?,
                run: row.get(1)?,
                fields: row.get(2)?,
                digest: row.get(3)?,
                in_doubt: row.get(4)?,
                is_known: row.get(5)?,
            })
        };
        self.next = self.rows.next()?.map(past).transpose()?;
        Ok(())
    }

    /// The next row, if its ticket is not beyond this one.
    fn up_to(&self, ticket: i64) -> Option<&Past> {
        self.next.as_ref().filter(|past| past.ticket <= ticket)
    }
}

/// What a ticket's fields were set to last.
#[derive(Default)]
struct Ticket {
    id: Option<i64>,
    /// `None`: nobody knows.
    last: HashMap<usize, Option<[u8; DIGEST_BYTES]>>,
    /// Those that a row in doubt sets.
    in_doubt: HashSet<usize>,
}

impl Ticket {
    fn was_given(&mut self, past: &Past, numbers: &[usize]) {
        let given = each(&past.fields, &past.digest, numbers);
        if past.in_doubt {
            self.in_doubt.extend(given.map(|(field, _)| field));
        } else {
            self.last.extend(given.map(|(field, digest)| (field, digest.filter(|_| past.is_known))));
        }
    }

    fn is_going_to_get(&mut self, fields: impl Iterator<Item = Given>) {
        self.last.extend(fields.map(|(field, _)| (field, None)));
    }

    fn has_all(&self, mut fields: impl Iterator<Item = Given>) -> bool {
        fields.all(|(field, digest)| {
            digest.is_some() && self.last.get(&field) == Some(&digest) && !self.in_doubt.contains(&field)
        })
    }
}

/// A field, by its number among those of all runs, and the digest of its value.
type Given = (usize, Option<[u8; DIGEST_BYTES]>);

/// Each field whose bit is set, with its digest. `numbers` are those of the run's fields.
fn each<'a>(bits: &'a [u8], digests: &'a [u8], numbers: &'a [usize]) -> impl Iterator<Item = Given> + 'a {
    let set = numbers.iter().enumerate().filter(|(bit, _)| has_bit(bits, *bit));
    let (digests, _) = digests.as_chunks::<DIGEST_BYTES>();
    // A digest that is missing is none that could be equal.
    set.zip(digests.iter().map(|digest| Some(*digest)).chain(std::iter::repeat(None)))
        .map(|((_, number), digest)| (*number, digest))
}

fn blob<'a>(row: &'a Row<'_>, column: usize) -> rusqlite::Result<&'a [u8]> {
    Ok(row.get_ref(column)?.as_blob()?)
}
