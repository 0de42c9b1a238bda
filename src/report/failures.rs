//! Result files: the rows that need a person, as they came, with what became of them.
//!
//! Such a file is a valid input again: the original cells are kept byte for byte, and our own columns say which
//! run and row each came from, so that an old row cannot overwrite newer data. Our columns are made harmless for
//! spreadsheets; the originals are the person's own and stay as they are. Rows are written as they come, none
//! is kept. A failure to write is handed up; the caller knows the path, and throws the file away.

use std::io::{self, Write};

use csv::{ByteRecord, QuoteStyle};
use serde_json::value::RawValue;

use crate::input::jsonl::Object;
use crate::input::{Body, Format, Header, Layout, Record, UTF8_BOM};
use crate::mapping::{OWN_ROW, OWN_RUN, is_own};
use crate::text::{clean, clean_cell};

/// The columns after run and row, in their order.
const OWN_OTHERS: [&str; 5] = [
    "_deskload_outcome",
    "_deskload_reason",
    "_deskload_message",
    "_deskload_http_status",
    "_deskload_attempts",
];

/// Where a row is kept as it was written that does not parse, or that has no other place in this format.
pub(super) const OWN_TEXT: &str = "_deskload_text";

/// What became of a row.
#[derive(Clone, Copy, Debug)]
pub struct Added<'a> {
    /// The run's number.
    pub run: u64,
    /// The row's number in that run.
    pub row: u64,
    /// `failed`, `invalid` or `in_doubt`.
    pub outcome: &'a str,
    /// The reason's name.
    pub reason: &'a str,
    /// Our words or the desk's.
    pub message: &'a str,
    /// The status of the last reply, if there was one.
    pub http_status: Option<u16>,
    /// How many requests were made for the row.
    pub attempts: u32,
}

/// A result file being written.
#[derive(Debug)]
pub struct ResultFile<W: Write>(Writer<W>);

#[derive(Debug)]
enum Writer<W: Write> {
    Csv { out: Box<csv::Writer<W>>, kept: Vec<bool>, cells: ByteRecord },
    Jsonl { out: W },
}

impl<W: Write> ResultFile<W> {
    /// Begins a file in the input's own layout: byte order mark, delimiter, columns. `header` is that of the
    /// input; JSONL has none.
    pub fn create(mut out: W, layout: &Layout, header: Option<&Header>) -> io::Result<Self> {
        if layout.bom {
            out.write_all(UTF8_BOM)?;
        }
        if layout.format == Format::Jsonl {
            return Ok(Self(Writer::Jsonl { out }));
        }
        let mut builder = csv::WriterBuilder::new();
        builder.flexible(true).delimiter(layout.delimiter);
        let names = header.map(Header::names).unwrap_or_default();
        let kept: Vec<bool> = names.iter().map(|name| !is_own(name) || name == OWN_TEXT).collect();
        let mut cells = ByteRecord::new();
        for (cell, _) in header.iter().flat_map(|header| header.cells()).zip(&kept).filter(|(_, kept)| **kept)
        {
            cells.push_field(cell);
        }
        for name in [OWN_RUN, OWN_ROW].into_iter().chain(OWN_OTHERS) {
            cells.push_field(name.as_bytes());
        }
        // A name that has come to stand first may begin with the mark, which readers would take off; not in quotes.
        let is_marked = cells.get(0).is_some_and(|name| name.starts_with(UTF8_BOM));
        let style = if is_marked { QuoteStyle::Always } else { QuoteStyle::Necessary };
        let mut first = builder.quote_style(style).from_writer(&mut out);
        first.write_byte_record(&cells)?;
        first.flush()?;
        drop(first);
        let out = builder.quote_style(QuoteStyle::Necessary).from_writer(out);
        Ok(Self(Writer::Csv { out: Box::new(out), kept, cells }))
    }

    /// Writes one row and what became of it.
    pub fn write(&mut self, record: &Record, added: &Added<'_>) -> io::Result<()> {
        match (&mut self.0, record.body()) {
            (Writer::Csv { out, kept, cells }, Body::Csv(row)) => {
                fill(cells, kept, row, added);
                Ok(out.write_byte_record(cells)?)
            }
            (Writer::Jsonl { out }, Body::Jsonl(line)) => write_object(out, line, added),
            // The file was begun for another input: its rows would be nonsense.
            _ => Err(io::Error::other("a row of another format than the file's; this is a bug")),
        }
    }

    /// Writes what is buffered, and gives the place back to be synced and put where it belongs.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Writer::Csv { out, .. } => out.into_inner().map_err(csv::IntoInnerError::into_error),
            Writer::Jsonl { mut out } => {
                out.flush()?;
                Ok(out)
            }
        }
    }
}

/// Puts together a CSV row: too short, it is filled up; too long, the surplus goes into the message.
fn fill(cells: &mut ByteRecord, kept: &[bool], row: &ByteRecord, added: &Added<'_>) {
    cells.clear();
    for (index, _) in kept.iter().enumerate().filter(|(_, kept)| **kept) {
        cells.push_field(row.get(index).unwrap_or_default());
    }
    let mut message = clean_cell(added.message);
    let surplus: Vec<_> = row.iter().skip(kept.len()).map(String::from_utf8_lossy).collect();
    if !surplus.is_empty() {
        message = format!("{message}; surplus cells: {}", clean(&surplus.join(" | ")));
    }
    cells.push_field(added.run.to_string().as_bytes());
    cells.push_field(added.row.to_string().as_bytes());
    cells.push_field(clean_cell(added.outcome).as_bytes());
    cells.push_field(clean_cell(added.reason).as_bytes());
    cells.push_field(message.as_bytes());
    cells.push_field(added.http_status.map(|status| status.to_string()).unwrap_or_default().as_bytes());
    cells.push_field(added.attempts.to_string().as_bytes());
}

fn write_object(out: &mut impl Write, line: &[u8], added: &Added<'_>) -> io::Result<()> {
    let mut members = Members { out, first: true };
    match Object::parse(line) {
        Ok(object) => {
            // The text of a line that did not parse is the person's, not ours.
            for (key, value) in object.0.iter().filter(|(key, _)| !is_own(key) || key == OWN_TEXT) {
                members.raw(key, value)?;
            }
        }
        Err(_) => members.text(OWN_TEXT, &String::from_utf8_lossy(line))?,
    }
    let [outcome, reason, message, http_status, attempts] = OWN_OTHERS;
    members.json(OWN_RUN, &added.run.to_string())?;
    members.json(OWN_ROW, &added.row.to_string())?;
    members.text(outcome, &clean(added.outcome))?;
    members.text(reason, &clean(added.reason))?;
    members.text(message, &clean(added.message))?;
    members.json(
        http_status,
        &added.http_status.map_or_else(|| "null".to_owned(), |status| status.to_string()),
    )?;
    members.json(attempts, &added.attempts.to_string())?;
    members.out.write_all(b"}\n")
}

/// The members of an object, one after the other.
struct Members<'a, W: Write> {
    out: &'a mut W,
    first: bool,
}

impl<W: Write> Members<'_, W> {
    fn json(&mut self, key: &str, json: &str) -> io::Result<()> {
        self.out.write_all(if self.first { b"{" } else { b"," })?;
        self.first = false;
        serde_json::to_writer(&mut *self.out, key)?;
        self.out.write_all(b":")?;
        self.out.write_all(json.as_bytes())
    }

    fn raw(&mut self, key: &str, value: &RawValue) -> io::Result<()> {
        self.json(key, value.get())
    }

    fn text(&mut self, key: &str, text: &str) -> io::Result<()> {
        self.json(key, &serde_json::to_string(text)?)
    }
}

#[cfg(test)]
mod tests;
