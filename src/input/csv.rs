//! CSV records, and the header they hang from.
//!
//! The csv crate splits the cells; [`Window`] knows the raw bytes. A row with too few or too many cells is
//! handed on: that is the row's trouble, not the file's. A record that never ends is the file's.

use std::fs::File;
use std::io::SeekFrom;
use std::path::{Path, PathBuf};

use csv::{ByteRecord, Position};

use super::window::{Lines, Window};
use super::{Format, Layout, Mark, RECORD_BYTES_MAX};
use crate::error::Error;

const BUFFER_BYTES: usize = 64 * 1024;

/// The columns of a CSV file, as its first line names them.
#[derive(Clone, Debug)]
pub struct Header {
    line: u64,
    cells: ByteRecord,
    names: Vec<String>,
    is_sheet: bool,
}

impl Header {
    pub(crate) fn new(line: u64, cells: ByteRecord, is_sheet: bool) -> Self {
        let names = cells.iter().map(|cell| String::from_utf8_lossy(cell).trim().to_owned()).collect();
        Self { line, cells, names, is_sheet }
    }

    /// Whether lines and columns are rows and columns of a spreadsheet.
    #[must_use]
    pub const fn is_sheet(&self) -> bool {
        self.is_sheet
    }

    /// The line it stands on, from 1; blank lines may come before it.
    #[must_use]
    pub const fn line(&self) -> u64 {
        self.line
    }

    /// The names, without outer blanks, otherwise as written.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The cells byte for byte.
    #[must_use]
    pub const fn cells(&self) -> &ByteRecord {
        &self.cells
    }
}

#[derive(Debug)]
pub(super) struct CsvRows {
    path: PathBuf,
    reader: csv::Reader<Window>,
    delimiter: u8,
    header: Header,
}

impl CsvRows {
    pub(super) fn open(path: &Path, file: File, layout: Layout) -> Result<Self, Error> {
        let (delimiter, is_sheet) = (layout.delimiter, layout.format == Format::Xlsx);
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter)
            .buffer_capacity(BUFFER_BYTES)
            .from_reader(Window::new(file, if is_sheet { Lines::Records } else { Lines::Breaks }));
        let empty = Header::new(1, ByteRecord::new(), is_sheet);
        let mut rows = Self { path: path.to_owned(), reader, delimiter, header: empty };
        let mut cells = ByteRecord::new();
        let Some((line, _)) = rows.next(&mut cells)? else {
            let what = if is_sheet {
                "the sheet is empty (--sheet names another); it begins"
            } else {
                "the input is empty; a CSV begins"
            };
            return Err(Error::Input(format!(
                "{what} with a header line that names its columns, for instance ticket_id,priority"
            )));
        };
        rows.header = Header::new(line, cells, is_sheet);
        Ok(rows)
    }

    pub(super) const fn header(&self) -> &Header {
        &self.header
    }

    /// Reads the next record; gives its line and byte, `None` at the end.
    pub(super) fn next(&mut self, cells: &mut ByteRecord) -> Result<Option<(u64, u64)>, Error> {
        loop {
            let more = match self.reader.read_byte_record(cells) {
                Ok(more) => more,
                Err(_) if self.reader.get_ref().overflowed() => return Err(self.too_long()),
                Err(error) => return Err(Error::file("read", &self.path, &error.into())),
            };
            let end = self.reader.position().byte();
            let delimiter = self.delimiter;
            let window = self.reader.get_mut();
            window.skip_blank();
            if !more {
                return Ok(None);
            }
            let (line, byte) = (window.line(), window.byte());
            let raw = window.until(end);
            // One cell of nothing but blanks is a blank line to everybody but the parser.
            let blank = cells.len() == 1 && raw.trim_ascii().is_empty();
            if raw.len() > RECORD_BYTES_MAX {
                return Err(self.too_long());
            }
            if window.ended()
                && let Some(place) = window.open_quote(end, delimiter)
            {
                return Err(Error::Input(never_closed(place)));
            }
            window.advance(end);
            if !blank {
                return Ok(Some((line, byte)));
            }
        }
    }

    pub(super) fn seek(&mut self, mark: &Mark) -> Result<(), Error> {
        // One byte earlier, which ends the line before: the parser would take a byte order mark off whatever
        // it reads first, and a cell may begin with one.
        let byte = mark.byte.saturating_sub(1);
        let mut position = Position::new();
        position.set_byte(byte);
        self.reader
            .seek_raw(SeekFrom::Start(byte), position)
            .map_err(|error| Error::file("read", &self.path, &error.into()))?;
        self.reader.get_mut().set_line(mark.line.saturating_sub(1));
        Ok(())
    }

    fn too_long(&self) -> Error {
        let window = self.reader.get_ref();
        // Only the record itself: behind it, others may follow in the window.
        let end = window.byte() + RECORD_BYTES_MAX as u64;
        let cause = match window.open_quote(end, self.delimiter) {
            Some((line, column)) => format!(
                "a quote that opens on line {line}, column {column} is not closed within it; {QUOTES_ADVICE}"
            ),
            None => "take the row out, or shorten it".to_owned(),
        };
        Error::Input(format!("line {}: the record that begins here is over 1 MiB; {cause}", window.line()))
    }
}

fn never_closed((line, column): (u64, usize)) -> String {
    format!("line {line}, column {column}: a quote opens here and is never closed; {QUOTES_ADVICE}")
}

const QUOTES_ADVICE: &str =
    "close it, or, if it belongs to the text, put the cell in quotes and write the quote twice";
