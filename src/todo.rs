//! What is left of a run, in order: the rows of the spool that the journal does not call settled.
//!
//! Rows below the cursor that are pending come first, then everything from the cursor on that has no settled
//! entry. The journal's entries are the truth; the cursor only saves reading. Nothing here writes.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::error::{Error, said};
use crate::journal::Journal;
use crate::journal::fingerprint::{FieldBits, Fingerprint};
use crate::journal::later::Place;
use crate::journal::reader::Entry;
use crate::journal::runs::{Run, RunKey};
use crate::journal::state::{Intent, State, Unsent};
use crate::mapping::Mapping;
use crate::newer::Newer;
use crate::spooled::Spooled;
use crate::ticket::TicketUpdate;

/// A row on its way.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its number, from 1.
    pub number: u64,
    /// What it asks for.
    pub update: TicketUpdate,
    /// What the journal remembers of it.
    pub fingerprint: Fingerprint,
    /// Attempts so far.
    pub attempts: u32,
    /// Whether the journal has an entry for it.
    pub has_entry: bool,
    /// Whether it is in doubt, and a person said to send it again.
    pub resend: bool,
    /// Size of its record, for the bound on reading ahead.
    pub bytes: usize,
    /// What stands against sending it.
    pub turn: Turn,
    /// How often the desk asked to come back later while other rows went through.
    pub refusals: u32,
    /// How often it was in doubt and sent again, because a person said so.
    pub doubts: u32,
    /// How many rows had gone through when it was last refused.
    pub refused_at: u64,
    /// How many refusals there had been by then, its own among them.
    pub refusals_seen: u64,
}

/// Whether a row may be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing stands against it.
    Send,
    /// Later rows have said all of it, or a part.
    Settle(Unsent),
    /// It waits for that row, which is in doubt or about to be sent.
    Hold(Place),
}

impl Row {
    /// A row that the journal has no entry for, and nothing stands against; `bytes` is the size of its record.
    #[must_use]
    pub const fn new(number: u64, bytes: usize, update: TicketUpdate, fingerprint: Fingerprint) -> Self {
        Self {
            number,
            update,
            fingerprint,
            attempts: 0,
            has_entry: false,
            resend: false,
            bytes,
            turn: Turn::Send,
            refusals: 0,
            doubts: 0,
            refused_at: 0,
            refusals_seen: 0,
        }
    }

    /// What the journal is asked for.
    #[must_use]
    pub fn intent(&self) -> Intent {
        Intent {
            row: self.number,
            ticket: self.update.ticket(),
            fingerprint: self.fingerprint.clone(),
            attempts: self.attempts,
            resend: self.resend,
        }
    }
}

/// Reads what is left, a row at a time.
pub struct Todo {
    journal: Journal,
    run: RunKey,
    rows: u64,
    /// Whether rows in doubt are left, too.
    resends: bool,
    cursor: u64,
    spooled: Spooled,
    mapping: Mapping,
    bits: FieldBits,
    /// Pending rows below the cursor, a page at a time; `None` once there are no more.
    below: Option<VecDeque<Entry>>,
    /// Looks for later rows.
    newer: Newer,
    /// Entries from the cursor on, a page at a time.
    above: VecDeque<Entry>,
    above_done: bool,
    last: u64,
}

impl Todo {
    /// Begins reading. `journal` is a connection of its own; with `resends`, rows in doubt are left, too.
    pub fn new(
        journal: Journal,
        run: &Run,
        spooled: Spooled,
        mapping: Mapping,
        resends: bool,
    ) -> Result<Self, Error> {
        let newer = Newer::new(&journal, run)?;
        Ok(Self {
            newer,
            journal,
            run: run.key,
            rows: run.counts.rows,
            resends,
            cursor: run.cursor,
            spooled,
            mapping,
            bits: FieldBits::new(run.custom_fields.clone()),
            below: Some(VecDeque::new()),
            above: VecDeque::new(),
            above_done: false,
            last: 0,
        })
    }

    /// The next row that is left, or `None` at the end.
    pub fn next_row(&mut self) -> Result<Option<Row>, Error> {
        if let Some(entry) = self.next_below()? {
            return self.read(entry.row, Some(entry)).map(Some);
        }
        loop {
            let number = self.last + 1;
            if number > self.rows {
                return Ok(None);
            }
            let entry = self.entry_of(number)?;
            if entry.is_some_and(|entry| !self.is_left(entry)) {
                self.last = number;
                continue;
            }
            return self.read(number, entry).map(Some);
        }
    }

    fn is_left(&self, entry: Entry) -> bool {
        entry.state == State::Pending || (self.resends && entry.state == State::InDoubt)
    }

    fn next_below(&mut self) -> Result<Option<Entry>, Error> {
        let Some(page) = &mut self.below else { return Ok(None) };
        if page.is_empty() {
            *page = self.journal.left_page(self.run, self.last, self.cursor, self.resends)?.into();
        }
        let entry = page.pop_front();
        if let Some(entry) = entry {
            self.last = entry.row;
        } else {
            self.below = None;
            self.last = self.cursor.saturating_sub(1);
        }
        Ok(entry)
    }

    /// The entry of a row from the cursor on, if it has one. Rows are asked for in order.
    fn entry_of(&mut self, number: u64) -> Result<Option<Entry>, Error> {
        if self.above.is_empty() && !self.above_done {
            self.above = self.journal.entry_page(self.run, number - 1, self.rows)?.into();
            self.above_done = self.above.is_empty();
        }
        match self.above.front() {
            Some(entry) if entry.row == number => Ok(self.above.pop_front()),
            _ => Ok(None),
        }
    }

    fn read(&mut self, number: u64, entry: Option<Entry>) -> Result<Row, Error> {
        self.last = number;
        let record = self.spooled.at(&self.journal, number).map_err(spoiled)?;
        let mapped = self.mapping.update_again(record)?;
        let fingerprint = Fingerprint::of(mapped.update.changes(), &self.bits).ok_or_else(|| {
            Error::Machine(format!(
                "row {number} names a custom field that the run did not know when it began: the spool beside the \
                 journal was changed; nothing more is sent"
            ))
        })?;
        let bytes = record.bytes();
        let retried = entry.is_some_and(|entry| entry.retried);
        let resend = entry.is_some_and(|entry| entry.state == State::InDoubt);
        let turn = match self.newer.turn(&self.journal, number, &mapped, &fingerprint, retried)? {
            // Newer data has come after it: it stays in doubt, and holds back what is behind it.
            Turn::Settle(_) if resend => Turn::Hold(Place { run: self.run.id, row: number }),
            turn => turn,
        };
        Ok(Row {
            attempts: entry.map_or(0, |entry| entry.attempts),
            has_entry: entry.is_some(),
            resend,
            turn,
            ..Row::new(number, bytes, mapped.update, fingerprint)
        })
    }
}

/// The first pass read the same bytes to their end: what cannot be read now was changed since.
fn spoiled(error: Error) -> Error {
    match error {
        Error::Input(why) => {
            Error::Machine(format!("the spool beside the journal was changed: {why}; nothing more is sent"))
        }
        other => other,
    }
}

/// Rows read at a time, so that the two threads meet seldom; fewer where they are large.
const CHUNK: usize = 64;
const CHUNK_BYTES: usize = 256 << 10;

/// Chunks read ahead.
const CHUNKS: usize = 4;

/// Rows that a pipeline has been handed and has not done with, so that none is handed to it twice.
#[derive(Debug, Default)]
pub struct InHand(Mutex<Rows>);

#[derive(Debug, Default)]
struct Rows {
    all: HashSet<u64>,
    resting: Vec<u64>,
}

impl InHand {
    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the row is handed out; false if it is already.
    pub(crate) fn take(&self, row: u64) -> bool {
        self.rows().all.insert(row)
    }

    /// Rows that stay pending for this invocation, because the desk kept asking to come back later.
    pub(crate) fn resting(&self) -> Vec<u64> {
        self.rows().resting.clone()
    }
}

/// Where the pipeline gets its rows from.
pub enum Source {
    /// A thread that reads ahead.
    Thread(mpsc::Receiver<Result<Vec<Row>, Error>>),
    /// A thread that hands out what is free in a journal that several machines share.
    Shared(mpsc::Receiver<Result<Vec<Row>, Error>>, Arc<InHand>),
    /// The caller's own thread, for simulated time.
    Inline(Box<Todo>),
}

impl Source {
    /// Hands the reading to a thread. It ends with its rows, or when nobody listens any more.
    pub fn spawn(mut todo: Todo) -> Result<Self, Error> {
        let (to, from) = mpsc::channel(CHUNKS);
        std::thread::Builder::new()
            .name("spool".to_owned())
            .spawn(move || {
                loop {
                    let chunk = chunk(&mut todo);
                    let is_last = !matches!(&chunk, Ok(rows) if !rows.is_empty());
                    if to.blocking_send(chunk).is_err() || is_last {
                        return;
                    }
                }
            })
            .map_err(|error| {
                Error::Machine(format!(
                    "failed to start the spool's thread: {}; the system's log may say more",
                    said(&error)
                ))
            })?;
        Ok(Self::Thread(from))
    }

    /// The next rows; none at the end. Dropping the future loses nothing.
    pub async fn more(&mut self) -> Result<Vec<Row>, Error> {
        match self {
            Self::Thread(from) | Self::Shared(from, _) => from.recv().await.unwrap_or_else(|| {
                Err(Error::Machine(
                    "the spool's thread has ended early: this is a bug in deskload".to_owned(),
                ))
            }),
            Self::Inline(todo) => chunk(todo),
        }
    }

    /// The pipeline is done with a row: if the journal has it as pending, it may come again.
    pub fn done_with(&self, row: u64) {
        if let Self::Shared(_, in_hand) = self {
            in_hand.rows().all.remove(&row);
        }
    }

    /// The row rests: it is not handed out again in this invocation.
    pub fn rests(&self, row: u64) {
        if let Self::Shared(_, in_hand) = self {
            in_hand.rows().resting.push(row);
        }
    }
}

fn chunk(todo: &mut Todo) -> Result<Vec<Row>, Error> {
    let mut rows: Vec<Row> = Vec::with_capacity(CHUNK);
    let mut bytes = 0;
    while rows.len() < CHUNK && bytes < CHUNK_BYTES {
        match todo.next_row()? {
            Some(row) => {
                bytes += row.bytes;
                rows.push(row);
            }
            None => break,
        }
    }
    Ok(rows)
}

#[cfg(test)]
pub(crate) mod tests;
