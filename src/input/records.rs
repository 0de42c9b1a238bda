//! One record after the other, whatever the format, with the place it came from.
//!
//! The same walk serves the first reading, the sending and the reports, so that a row's number and line are
//! the same everywhere. Buffers are reused: a million rows cost the memory of one.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use csv::ByteRecord;
use serde::{Deserialize, Serialize};

use super::RECORD_BYTES_MAX;
use super::csv::{CsvRows, Header};
use super::jsonl::JsonlRows;
use super::layout::{Format, Layout, detect_delimiter};
use crate::error::Error;

/// Where a record begins, so that reading can start there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The row's number, from 1.
    pub row: u64,
    /// The byte of the spool at which it begins, from 0.
    pub byte: u64,
    /// The line on which it begins, from 1.
    pub line: u64,
}

/// What a record holds, as it was written.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// The cells, without their quotes, byte for byte.
    Csv(&'a ByteRecord),
    /// The line, without its end and the blanks before that.
    Jsonl(&'a [u8]),
}

/// What a record that was kept elsewhere holds.
pub(crate) enum Kept {
    /// The cells.
    Csv(ByteRecord),
    /// The line.
    Jsonl(Vec<u8>),
}

/// One row of the input. Made empty once, and filled by [`Records::next`] again and again.
#[derive(Clone, Debug)]
pub struct Record {
    mark: Mark,
    format: Format,
    cells: ByteRecord,
    text: Vec<u8>,
}

impl Record {
    /// An empty record.
    #[must_use]
    pub fn new() -> Self {
        let mark = Mark { row: 0, byte: 0, line: 0 };
        Self { mark, format: Format::Csv, cells: ByteRecord::new(), text: Vec::new() }
    }

    /// A record that was kept elsewhere than in a spool.
    pub(crate) fn kept(number: u64, line: u64, body: Kept) -> Self {
        let mark = Mark { row: number, byte: 0, line };
        match body {
            Kept::Csv(cells) => Self { mark, format: Format::Csv, cells, text: Vec::new() },
            Kept::Jsonl(text) => Self { mark, format: Format::Jsonl, cells: ByteRecord::new(), text },
        }
    }

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

    /// How much text it holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self.format {
            Format::Csv | Format::Xlsx => self.cells.as_slice().len(),
            Format::Jsonl => self.text.len(),
        }
    }

    /// Makes it a row of CSV with these cells.
    pub(crate) fn set_cells<'a>(&mut self, cells: impl Iterator<Item = &'a [u8]>) {
        self.format = Format::Csv;
        self.cells.clear();
        cells.for_each(|cell| self.cells.push_field(cell));
    }

    /// Makes it a row of JSONL.
    pub(crate) fn set_line(&mut self, line: &[u8]) {
        self.format = Format::Jsonl;
        line.clone_into(&mut self.text);
    }

    /// What it holds.
    #[must_use]
    pub fn body(&self) -> Body<'_> {
        match self.format {
            Format::Csv | Format::Xlsx => Body::Csv(&self.cells),
            Format::Jsonl => Body::Jsonl(&self.text),
        }
    }
}

impl Default for Record {
    fn default() -> Self {
        Self::new()
    }
}

/// The first line that is not blank; its line breaks within quotes belong to it.
fn first_record(text: &[u8]) -> &[u8] {
    let text = text.trim_ascii_start();
    let mut quoted = false;
    let end = text.iter().position(|byte| {
        quoted ^= *byte == b'"';
        !quoted && matches!(byte, b'\r' | b'\n')
    });
    text.get(..end.unwrap_or(text.len())).unwrap_or_default()
}

/// The records of a spool, or of any UTF-8 file.
#[derive(Debug)]
pub struct Records {
    row: u64,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Csv(Box<CsvRows>),
    Jsonl(JsonlRows),
}

impl Records {
    /// Opens the file; for CSV the header is read. A CSV without one cannot be used.
    pub fn open(path: &Path, layout: &Layout) -> Result<Self, Error> {
        let file = File::open(path).map_err(|error| Error::file("open", path, &error))?;
        let source = match layout.format {
            Format::Csv | Format::Xlsx => Source::Csv(Box::new(CsvRows::open(path, file, *layout)?)),
            Format::Jsonl => Source::Jsonl(JsonlRows::open(path, file)),
        };
        Ok(Self { row: 0, source })
    }

    /// What stands between the cells of a CSV, by its header line; a comma where the header is one cell. `knows` tells
    /// names that mean something, should there be several possible ones.
    pub fn detect_delimiter(path: &Path, knows: &dyn Fn(&str) -> bool) -> Result<u8, Error> {
        let file = File::open(path).map_err(|error| Error::file("open", path, &error))?;
        let mut start = Vec::new();
        // Twice: where a line is longer, the header is too long a record, which is told when it is read.
        file.take(2 * RECORD_BYTES_MAX as u64)
            .read_to_end(&mut start)
            .map_err(|error| Error::file("read", path, &error))?;
        let found = detect_delimiter(first_record(&start), knows);
        found.map(|found| found.unwrap_or(b',')).map_err(|why| Error::Input(format!("line 1: {why}")))
    }

    /// The columns; `None` for JSONL, where each object brings its own keys.
    #[must_use]
    pub fn header(&self) -> Option<&Header> {
        match &self.source {
            Source::Csv(rows) => Some(rows.header()),
            Source::Jsonl(_) => None,
        }
    }

    /// Goes to a marked record: the next one read is that.
    pub fn seek(&mut self, mark: &Mark) -> Result<(), Error> {
        match &mut self.source {
            Source::Csv(rows) => rows.seek(mark)?,
            Source::Jsonl(rows) => rows.seek(mark)?,
        }
        self.row = mark.row.saturating_sub(1);
        Ok(())
    }

    /// Reads the next record into `record`; false at the end. A record that is too long, or a quote that is
    /// never closed, is [`Error::Input`].
    pub fn next(&mut self, record: &mut Record) -> Result<bool, Error> {
        let (format, place) = match &mut self.source {
            Source::Csv(rows) => (Format::Csv, rows.next(&mut record.cells)?),
            Source::Jsonl(rows) => (Format::Jsonl, rows.next(&mut record.text)?),
        };
        record.format = format;
        let Some((line, byte)) = place else { return Ok(false) };
        self.row += 1;
        record.mark = Mark { row: self.row, byte, line };
        Ok(true)
    }
}
