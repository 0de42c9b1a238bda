//! Reads records on a thread of its own, so that they are taken apart while others are looked at.
//!
//! They cross in batches, which go back to be filled anew. A batch is three flat lists, because it is the walk from one
//! core's memory to the other's that costs: records that are allocated one by one cross so slowly that a second thread
//! gains nothing. Whoever looks sees the rows in their order, and what ends the reading after the last.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use memchr::memchr;

use super::{Body, Mark, Record, Records};
use crate::error::{Error, said};

/// Bytes of a batch, as soon as it has so many.
const BATCH_BYTES: usize = 64 << 10;

/// Rows of a batch, at most.
const BATCH_ROWS: usize = 4 << 10;

/// Batches under way.
const BATCHES: usize = 4;

/// A row of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    mark: Mark,
    pub(crate) body: RowBody<'a>,
}

/// What it holds, as [`Body`] has it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RowBody<'a> {
    Csv(Cells<'a>),
    Jsonl(&'a [u8]),
}

/// The cells of a row, one behind the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cells<'a> {
    pub(crate) bytes: &'a [u8],
    /// The same, where it is known to be UTF-8 without NUL.
    pub(crate) clean: Option<&'a str>,
    /// Where each cell ends.
    ends: &'a [u32],
}

impl Row<'_> {
    /// The row's number, counted from 1 as a person would count data rows.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.mark.row
    }

    /// The line on which it begins, from 1; blank lines before it do not belong to it.
    #[must_use]
    pub const fn line(&self) -> u64 {
        self.mark.line
    }

    /// Where it begins.
    #[must_use]
    pub const fn mark(&self) -> Mark {
        self.mark
    }
}

impl<'a> Cells<'a> {
    pub(crate) const fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (bytes, mut start) = (self.bytes, 0);
        self.ends.iter().map(move |end| {
            let end = *end as usize;
            let cell = bytes.get(start..end).unwrap_or_default();
            start = end;
            cell
        })
    }
}

/// Where a row ends in a batch's lists.
#[derive(Clone, Copy)]
struct End {
    mark: Mark,
    text: usize,
    cells: usize,
}

/// The text of a batch.
enum Text {
    /// UTF-8 without NUL.
    Clean(String),
    Bytes(Vec<u8>),
}

/// Rows on their way.
pub(super) struct Batch {
    text: Text,
    /// Where each cell ends, counted from its row's start.
    cells: Vec<u32>,
    rows: Vec<End>,
    is_csv: bool,
}

impl Batch {
    const fn new() -> Self {
        Self { text: Text::Bytes(Vec::new()), cells: Vec::new(), rows: Vec::new(), is_csv: false }
    }

    /// Fills it anew; what ended the reading behind its last row, if anything did.
    fn fill(&mut self, from: &mut Records, record: &mut Record) -> Option<Result<(), Error>> {
        let mut text = match std::mem::replace(&mut self.text, Text::Bytes(Vec::new())) {
            Text::Clean(text) => text.into_bytes(),
            Text::Bytes(bytes) => bytes,
        };
        text.clear();
        self.cells.clear();
        self.rows.clear();
        // What a record of a MiB has needed is given back.
        text.shrink_to(2 * BATCH_BYTES);
        self.cells.shrink_to(2 * BATCH_BYTES);
        let mut end = None;
        while text.len() < BATCH_BYTES && self.cells.len() < BATCH_BYTES && self.rows.len() < BATCH_ROWS {
            match from.next(record) {
                Ok(true) => self.push(&mut text, record),
                Ok(false) => end = Some(Ok(())),
                Err(error) => end = Some(Err(error)),
            }
            if end.is_some() {
                break;
            }
        }
        self.text = match String::from_utf8(text) {
            Ok(text) if memchr(0, text.as_bytes()).is_none() => Text::Clean(text),
            Ok(text) => Text::Bytes(text.into_bytes()),
            Err(error) => Text::Bytes(error.into_bytes()),
        };
        end
    }

    fn push(&mut self, text: &mut Vec<u8>, record: &Record) {
        match record.body() {
            Body::Csv(cells) => {
                self.is_csv = true;
                let mut end = 0_u32;
                for cell in cells {
                    // A record has a MiB at most.
                    end = end.saturating_add(u32::try_from(cell.len()).unwrap_or(u32::MAX));
                    self.cells.push(end);
                }
                text.extend_from_slice(cells.as_slice());
            }
            Body::Jsonl(line) => {
                self.is_csv = false;
                text.extend_from_slice(line);
            }
        }
        self.rows.push(End { mark: record.mark(), text: text.len(), cells: self.cells.len() });
    }

    /// Its rows, in their order.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let (clean, bytes) = match &self.text {
            Text::Clean(text) => (Some(text.as_str()), text.as_bytes()),
            Text::Bytes(bytes) => (None, bytes.as_slice()),
        };
        let (mut text, mut cells) = (0, 0);
        self.rows.iter().map(move |end| {
            let (text_of, cells_of) = (text..end.text, cells..end.cells);
            (text, cells) = (end.text, end.cells);
            let row = bytes.get(text_of.clone()).unwrap_or_default();
            let body = if self.is_csv {
                let ends = self.cells.get(cells_of).unwrap_or_default();
                RowBody::Csv(Cells { bytes: row, clean: clean.and_then(|clean| clean.get(text_of)), ends })
            } else {
                RowBody::Jsonl(row)
            };
            Row { mark: end.mark, body }
        })
    }
}

/// What is handed over: a batch, and what ended the reading behind its last row.
type Filled = (Batch, Option<Result<(), Error>>);

/// What looks at the rows of a batch.
type Look<'l> = dyn FnMut(&Batch) -> Result<(), Error> + 'l;

/// Shows every record that is left in `records` to `look`, some at a time; its error ends the reading.
pub(super) fn each(records: &mut Records, look: &mut Look<'_>) -> Result<(), Error> {
    let (to, filled) = sync_channel(BATCHES);
    let (back, empty) = sync_channel(BATCHES);
    for _ in 0..BATCHES {
        // There is room for all of them.
        let _ = back.try_send(Batch::new());
    }
    // Moved in: an error of `look` has to end both channels before the scope waits for the reader, who may be waiting at
    // one of them.
    std::thread::scope(move |scope| {
        std::thread::Builder::new()
            .name("records".to_owned())
            .spawn_scoped(scope, move || read(records, &empty, &to))
            .map_err(|error| {
                Error::Machine(format!(
                    "failed to start the thread that reads: {}; the system's log may say more",
                    said(&error)
                ))
            })?;
        look_at(&filled, &back, look)
    })
}

/// Ends with its records, or when nobody listens any more.
fn read(records: &mut Records, empty: &Receiver<Batch>, to: &SyncSender<Filled>) {
    let mut record = Record::new();
    while let Ok(mut batch) = empty.recv() {
        let end = batch.fill(records, &mut record);
        let is_last = end.is_some();
        if to.send((batch, end)).is_err() || is_last {
            return;
        }
    }
}

fn look_at(filled: &Receiver<Filled>, back: &SyncSender<Batch>, look: &mut Look<'_>) -> Result<(), Error> {
    while let Ok((batch, end)) = filled.recv() {
        look(&batch)?;
        if let Some(end) = end {
            return end;
        }
        // A reader that has ended says so itself, behind its last row.
        let _ = back.send(batch);
    }
    Err(Error::Machine("the thread that reads has ended early: this is a bug in deskload".to_owned()))
}
