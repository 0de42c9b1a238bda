//! Reads records on a thread of its own, so that they are taken apart while others are looked at.
//!
//! They cross in batches, which go back to be filled anew: the two threads meet seldom, and a million rows cost the
//! memory of a few batches. Whoever looks sees the records in their order, and what ends the reading after the last.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::{Record, Records};
use crate::error::{Error, said};

/// Rows of a batch; fewer where they are large.
const BATCH_ROWS: usize = 256;
const BATCH_BYTES: usize = 256 << 10;

/// Batches under way.
const BATCHES: usize = 4;

/// A record that held more than this gives its memory back.
const KEPT_BYTES_MAX: usize = 4 << 10;

/// Records of which the first `filled` hold something. A batch with room left over is the last.
#[derive(Default)]
struct Batch {
    records: Vec<Record>,
    filled: usize,
}

impl Batch {
    /// Fills it anew; false at the end of the input.
    fn fill(&mut self, from: &mut Records) -> Result<bool, Error> {
        self.filled = 0;
        let mut bytes = 0;
        while self.filled < BATCH_ROWS && bytes < BATCH_BYTES {
            if self.filled == self.records.len() {
                self.records.push(Record::new());
            }
            let Some(record) = self.records.get_mut(self.filled) else { break };
            if record.bytes() > KEPT_BYTES_MAX {
                *record = Record::new();
            }
            if !from.next(record)? {
                return Ok(false);
            }
            bytes += record.bytes();
            self.filled += 1;
        }
        Ok(true)
    }
}

/// What is handed over: a batch, and what ended the reading behind its last record.
type Filled = (Batch, Option<Result<(), Error>>);

/// Shows every record that is left in `records` to `look`, some at a time; its error ends the reading.
pub(super) fn each(
    records: &mut Records,
    look: &mut dyn FnMut(&[Record]) -> Result<(), Error>,
) -> Result<(), Error> {
    let (to, filled) = sync_channel(BATCHES);
    let (back, empty) = sync_channel(BATCHES);
    for _ in 0..BATCHES {
        // There is room for all of them.
        let _ = back.try_send(Batch::default());
    }
    std::thread::scope(|scope| {
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
    while let Ok(mut batch) = empty.recv() {
        let end = match batch.fill(records) {
            Ok(true) => None,
            Ok(false) => Some(Ok(())),
            Err(error) => Some(Err(error)),
        };
        let is_last = end.is_some();
        if to.send((batch, end)).is_err() || is_last {
            return;
        }
    }
}

fn look_at(
    filled: &Receiver<Filled>,
    back: &SyncSender<Batch>,
    look: &mut dyn FnMut(&[Record]) -> Result<(), Error>,
) -> Result<(), Error> {
    while let Ok((batch, end)) = filled.recv() {
        look(batch.records.get(..batch.filled).unwrap_or_default())?;
        if let Some(end) = end {
            return end;
        }
        // A reader that has ended says so itself, behind its last record.
        let _ = back.send(batch);
    }
    Err(Error::Machine("the thread that reads has ended early: this is a bug in deskload".to_owned()))
}
