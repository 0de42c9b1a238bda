//! Rows of one format in the other, for `--report-format`: as long as they read back as the same.
//!
//! A cell and a JSON value are not the same everywhere: a number is text in a cell, and a key that is not there has no cell,
//! which may mean something (`--blank`). So each row is read in both forms by the run's own mapping and compared. A row that
//! was invalid and would not be any more, because the cells cannot show what is wrong, is kept as text in a column of ours;
//! where a row that was sent would ask for something else, the file is not written in this format at all.

use csv::ByteRecord;
use serde_json::value::RawValue;

use super::failures::OWN_TEXT;
use crate::input::jsonl::Object;
use crate::input::{Body, Header, Record};
use crate::mapping::{Mapping, MappingSpec, is_own};

/// More different keys than this are no columns that anybody could read.
const COLUMNS_MAX: usize = 1_000;

/// The keys of JSONL rows, in the order in which they first appear.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<String>);

impl Keys {
    /// Takes the keys of one more row; false: they have become too many.
    pub(super) fn note(&mut self, record: &Record) -> bool {
        let Body::Jsonl(line) = record.body() else { return true };
        for (key, _) in Object::parse(line).map(|object| object.0).unwrap_or_default() {
            if !is_own(&key) && !self.0.iter().any(|known| *known == key) {
                self.0.push(key.into_owned());
            }
        }
        self.0.len() <= COLUMNS_MAX
    }
}

/// Writes rows in the other format.
#[derive(Debug)]
pub(super) struct Rewrite {
    /// What the cells are called; a column that is not written has no name here.
    names: Vec<Option<String>>,
    /// The columns, where cells are what is written.
    header: Option<Header>,
    from: Mapping,
    to: Mapping,
    record: Record,
}

impl Rewrite {
    /// To JSONL, from rows with these columns. `None`: it cannot be.
    pub(super) fn to_lines(spec: &MappingSpec, header: &Header) -> Option<Self> {
        let mut names: Vec<Option<String>> = Vec::new();
        for name in header.names() {
            // Of two columns of one name, neither means anything.
            let is_left_out =
                (is_own(name) && name != OWN_TEXT) || names.iter().flatten().any(|known| known == name);
            names.push((!is_left_out).then(|| name.clone()));
        }
        let from = Mapping::resolve(spec, Some(header)).ok()?;
        let to = Mapping::resolve(spec, None).ok()?;
        Some(Self { names, header: None, from, to, record: Record::new() })
    }

    /// To CSV, from rows with these keys. `None`: it cannot be.
    pub(super) fn to_cells(spec: &MappingSpec, keys: Keys) -> Option<Self> {
        let names = keys.0.into_iter().chain([OWN_TEXT.to_owned()]);
        let names: Vec<Option<String>> = names.map(Some).collect();
        let cells: ByteRecord = names.iter().flatten().map(String::as_bytes).collect();
        let header = Header::new(1, cells, false);
        let from = Mapping::resolve(spec, None).ok()?;
        let to = Mapping::resolve(spec, Some(&header)).ok()?;
        Some(Self { names, header: Some(header), from, to, record: Record::new() })
    }

    /// The columns, where cells are what is written.
    pub(super) const fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// The row in the other format. `None`: it would ask for something else there.
    pub(super) fn row(&mut self, record: &Record) -> Option<&Record> {
        let is_written = match record.body() {
            Body::Csv(cells) => self.line(cells),
            Body::Jsonl(line) => self.cells(line),
        };
        let before = self.from.update(record).ok().map(|mapped| mapped.update);
        let after = self.to.update(&self.record).ok().map(|mapped| mapped.update);
        match (before, after) {
            (Some(before), Some(after)) if before == after => {}
            (Some(_), _) => return None,
            (None, None) if is_written => {}
            (None, _) => self.keep_text(record),
        }
        Some(&self.record)
    }

    /// Makes an object of cells, each a text; false if there is not one cell for each column.
    fn line(&mut self, cells: &ByteRecord) -> bool {
        let members =
            self.names.iter().zip(cells).filter_map(|(name, cell)| {
                Some(format!("{}:{}", json(name.as_ref()?.as_bytes()), json(cell)))
            });
        let line = format!("{{{}}}", members.collect::<Vec<_>>().join(","));
        self.record.set_line(line.as_bytes());
        cells.len() == self.names.len()
    }

    /// Makes cells of an object; false if it is none.
    fn cells(&mut self, line: &[u8]) -> bool {
        let object = Object::parse(line).map(|object| object.0);
        let members = object.as_deref().unwrap_or_default();
        let cell = |name: &Option<String>| {
            let (_, value) = members.iter().rfind(|(key, _)| Some(key.as_ref()) == name.as_deref())?;
            Some(text(value))
        };
        let cells: Vec<String> = self.names.iter().map(|name| cell(name).unwrap_or_default()).collect();
        self.record.set_cells(cells.iter().map(String::as_bytes));
        object.is_ok()
    }

    /// Keeps the row as it was written, in our column alone: so it stays invalid until somebody has looked.
    fn keep_text(&mut self, record: &Record) {
        match record.body() {
            Body::Csv(cells) => {
                let cells: Vec<_> = cells.iter().map(String::from_utf8_lossy).collect();
                let line =
                    format!("{{{}:{}}}", json(OWN_TEXT.as_bytes()), json(cells.join(" | ").as_bytes()));
                self.record.set_line(line.as_bytes());
            }
            Body::Jsonl(line) => {
                let blank = self.names.iter().skip(1).map(|_| &b""[..]);
                self.record.set_cells(blank.chain([line]));
            }
        }
    }
}

/// Text as a JSON string. A byte that is no UTF-8 becomes half of a pair, which is no text and is refused when it is read.
fn json(text: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in text.utf8_chunks() {
        let quoted = serde_json::Value::from(chunk.valid()).to_string();
        out += quoted.get(1..quoted.len() - 1).unwrap_or_default();
        out.extend(chunk.invalid().iter().map(|byte| format!("\\udc{byte:02x}")));
    }
    out.push('"');
    out
}

/// A JSON value as a cell: the text itself, nothing for null, all else as it is written.
fn text(value: &RawValue) -> String {
    match value.get() {
        "null" => String::new(),
        json => serde_json::from_str(json).unwrap_or_else(|_| json.to_owned()),
    }
}

#[cfg(test)]
mod tests;
