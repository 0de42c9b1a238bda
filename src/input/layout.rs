//! Which format the input has, so that a person seldom needs to say it.
//!
//! This decides from what was typed, else from the name's ending (below that of the packing), else from the first byte. It
//! must not open anything. The result is kept with the run: a resume reads the spool exactly as the first invocation did.

use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Cells between delimiters, the first line a header (RFC 4180; quotes are doubled inside quotes).
    Csv,
    /// One JSON object a line.
    Jsonl,
    /// A spreadsheet. Its copy is CSV, but a line is a row of the sheet there, whatever line breaks its cells hold.
    Xlsx,
}

impl Format {
    /// Whether its copy holds cells.
    #[must_use]
    pub const fn has_cells(self) -> bool {
        matches!(self, Self::Csv | Self::Xlsx)
    }
}

/// What `--format` can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words typed")]
pub enum Choice {
    Csv,
    Tsv,
    Jsonl,
    Xlsx,
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "csv" => Ok(Self::Csv),
            "tsv" => Ok(Self::Tsv),
            "jsonl" | "ndjson" => Ok(Self::Jsonl),
            "xlsx" => Ok(Self::Xlsx),
            _ => Err(format!("{text:?} is not a format: csv, tsv, jsonl or xlsx")),
        }
    }
}

/// How to read the spool, and how to write files that go back to the person who made the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// CSV, JSONL or a spreadsheet.
    pub format: Format,
    /// The byte between cells; without meaning for JSONL.
    pub delimiter: u8,
    /// Whether the input began with a byte order mark or was no UTF-8 text, so that files that go back begin with one.
    /// The spool does not.
    pub bom: bool,
}

impl Layout {
    /// Decides: what was typed, else the ending of the path, else (standard input, or an ending that says nothing) the
    /// first byte that is not blank. A delimiter that was typed wins over the one the format brings.
    #[must_use]
    pub fn choose(
        typed: Option<Choice>,
        delimiter: Option<u8>,
        path: Option<&Path>,
        first: Option<u8>,
        bom: bool,
    ) -> Self {
        let usual = if first == Some(b'{') { Choice::Jsonl } else { Choice::Csv };
        let choice = named(typed, path).unwrap_or(usual);
        let (format, usual) = match choice {
            Choice::Csv => (Format::Csv, b','),
            Choice::Tsv => (Format::Csv, b'\t'),
            Choice::Jsonl => (Format::Jsonl, b','),
            Choice::Xlsx => (Format::Xlsx, b','),
        };
        Self { format, delimiter: delimiter.unwrap_or(usual), bom }
    }
}

/// What was typed, else what the ending of the path says; `None`: the first byte decides.
#[must_use]
pub fn named(typed: Option<Choice>, path: Option<&Path>) -> Option<Choice> {
    typed.or_else(|| path.and_then(by_ending))
}

/// The delimiter that a header line shows: the one of comma, semicolon and tab that stands outside quotes. Where
/// there are several, it is the one that splits off a name that `knows`. `Ok(None)`: none of them is there.
pub(super) fn detect_delimiter(header: &[u8], knows: &dyn Fn(&str) -> bool) -> Result<Option<u8>, String> {
    let cells = |delimiter: u8| {
        let mut reader =
            csv::ReaderBuilder::new().has_headers(false).delimiter(delimiter).from_reader(header);
        let mut cells = csv::ByteRecord::new();
        // A header that cannot be split is told by whoever reads it as a record.
        let _ = reader.read_byte_record(&mut cells);
        cells
    };
    let there: Vec<(u8, csv::ByteRecord)> = [b',', b';', b'\t']
        .into_iter()
        .map(|delimiter| (delimiter, cells(delimiter)))
        .filter(|(_, cells)| cells.len() > 1)
        .collect();
    if let [] | [_] = there.as_slice() {
        return Ok(there.first().map(|(delimiter, _)| *delimiter));
    }
    let fits =
        |(_, cells): &&(u8, csv::ByteRecord)| cells.iter().any(|cell| str::from_utf8(cell).is_ok_and(knows));
    if let [(delimiter, _)] = there.iter().filter(fits).collect::<Vec<_>>().as_slice() {
        return Ok(Some(*delimiter));
    }
    let found: Vec<&str> = there.iter().map(|(delimiter, _)| typed(*delimiter)).collect();
    Err(format!(
        "the header holds {}, and it is not clear which stands between the cells; say so with --delimiter",
        found.join(" and ")
    ))
}

/// A delimiter as it is typed.
#[must_use]
pub fn typed(delimiter: u8) -> &'static str {
    match delimiter {
        b',' => "','",
        b';' => "';'",
        b'\t' => "tab",
        _ => "another one",
    }
}

fn by_ending(path: &Path) -> Option<Choice> {
    let ending =
        |path: &Path| path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
    let packed = matches!(ending(path).as_deref(), Some("gz" | "zst"));
    let path = if packed { Path::new(path.file_stem().unwrap_or_default()) } else { path };
    Some(match ending(path)?.as_str() {
        "csv" => Choice::Csv,
        // What is one list is refused, as what it is.
        "jsonl" | "ndjson" | "json" => Choice::Jsonl,
        "tsv" => Choice::Tsv,
        // The same with macros, which nobody runs here.
        "xlsx" | "xlsm" => Choice::Xlsx,
        _ => return None,
    })
}

/// Reads what `--delimiter` says: one ASCII character, or `tab`, or `\t`.
pub fn parse_delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"tab" | b"\\t" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n' | 0) => Ok(*byte),
        _ => Err(format!("{text:?} is not a delimiter: one ASCII character but the quote, or tab")),
    }
}
