//! The judge's evidence: what the desk wrote down, row by row. The program under test has no hand in it.
//!
//! The log is read on from where it was left, and never cut. A line of no row of this round is a breach: it would be
//! another round's, or a change that nobody asked for.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom};
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::breach::Breach;
use crate::plan::Line;

/// A request as the desk saw it.
#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    ticket: Option<u64>,
    change: Map<String, Value>,
    status: Option<u16>,
    /// The change took effect, whatever was answered.
    pub(crate) applied: bool,
    fate: String,
}

impl Request {
    /// Answered in a way that sends a row again by itself: 429, or 503 with the Retry-After that this desk gives.
    pub(crate) fn asked_to_come_back(&self) -> bool {
        !self.applied && matches!(self.status, Some(429 | 503))
    }

    /// Answered in a way that makes a row fail.
    pub(crate) fn refused(&self) -> bool {
        !self.applied && (self.fate == "refused" || self.status == Some(422))
    }
}

/// What reached the desk so far.
pub(crate) struct Evidence {
    log: PathBuf,
    read: u64,
    /// Each row's requests, in the order of their arrival.
    pub(crate) rows: Vec<Vec<Request>>,
    /// The rows that took effect, in that order, by their indexes.
    pub(crate) applied: Vec<usize>,
    pub(crate) requests: u64,
}

impl Evidence {
    pub(crate) fn new(log: PathBuf, rows: usize) -> Self {
        let rows = std::iter::repeat_with(Vec::new).take(rows).collect();
        Self { log, read: 0, rows, applied: Vec::new(), requests: 0 }
    }

    /// Reads on; gives the number of new requests.
    pub(crate) fn read_on(&mut self, lines: &[Line]) -> Result<u64, Breach> {
        let before = self.requests;
        let mut log = BufReader::new(File::open(&self.log).unwrap());
        log.seek(SeekFrom::Start(self.read)).unwrap();
        let mut text = String::new();
        loop {
            text.clear();
            self.read += log.read_line(&mut text).unwrap() as u64;
            if text.is_empty() {
                return Ok(self.requests - before);
            }
            let request: Request = serde_json::from_str(&text).unwrap();
            // The barrier's own call.
            if request.fate != "misdirected" {
                self.take(request, lines)?;
            }
        }
    }

    fn take(&mut self, request: Request, lines: &[Line]) -> Result<(), Breach> {
        let subject = request.change.get("subject").and_then(Value::as_str).unwrap_or_default();
        let number = subject.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0_usize);
        let index = number.wrapping_sub(1);
        let is_asked_for = lines.get(index).is_some_and(|line| {
            line.valid && Some(line.ticket) == request.ticket && line.change == request.change
        });
        if !is_asked_for {
            return Err(Breach::other(format!("no row asks for what the desk saw: {request:?}")));
        }
        self.requests += 1;
        if request.applied {
            self.applied.push(index);
        }
        self.rows[index].push(request);
        Ok(())
    }

    /// Whether the desk has the row's update.
    pub(crate) fn has(&self, index: usize) -> bool {
        self.rows[index].iter().any(|request| request.applied)
    }

    /// Rows whose update took effect more than once.
    pub(crate) fn repeated(&self) -> u64 {
        let times = |requests: &Vec<Request>| requests.iter().filter(|request| request.applied).count();
        self.rows.iter().filter(|requests| times(requests) > 1).count() as u64
    }
}
