//! The line of an invalid row as it stands in the input, with a mark under the cell.
//!
//! The line is read again from the spool, because records hold cells without their quotes. It is shown cut around the
//! cell, and what could move a cursor or turn the direction of text is replaced, one character for one.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use crate::error::Error;
use crate::input::jsonl::Object;
use crate::input::{Format, Layout, Mark, RECORD_BYTES_MAX};
use crate::mapping::{At, short};
use crate::text::{clean, visible};

/// A place in a file, and its line around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointed {
    /// The line, from 1.
    pub line: u64,
    /// The character of that line, from 1.
    pub column: usize,
    /// What stands before the cell, the cell (its first line), and what stands behind it.
    pub text: [String; 3],
    /// The line is a spreadsheet's row, and nobody can look up the character.
    is_sheet: bool,
}

/// Reads lines of a spool.
#[derive(Debug)]
pub struct Pointer {
    path: PathBuf,
    file: File,
    layout: Layout,
}

/// How much of a cell is kept, and of what stands behind it, in characters. All that stands before it is: the column
/// is counted from it.
const KEPT_CHARS_MAX: usize = 200;

impl Pointer {
    /// Opens the spool.
    pub fn open(path: &Path, layout: Layout) -> Result<Self, Error> {
        let file = File::open(path).map_err(|error| Error::file("open", path, &error))?;
        Ok(Self { path: path.to_owned(), file, layout })
    }

    /// Finds the place in the record that begins here.
    pub fn point(&mut self, mark: Mark, at: &At) -> Result<Pointed, Error> {
        let mut raw = Vec::new();
        self.file
            .seek(SeekFrom::Start(mark.byte))
            .and_then(|_| (&mut self.file).take(RECORD_BYTES_MAX as u64 + 2).read_to_end(&mut raw))
            .map_err(|error| Error::file("read", &self.path, &error))?;
        let span = match (self.layout.format, at) {
            (Format::Csv | Format::Xlsx, At::Column(column, _) | At::Cell(column, _)) => {
                cell(&raw, self.layout.delimiter, column - 1)
            }
            (Format::Jsonl, At::Key(key)) => member(&raw, key),
            _ => None,
        };
        Ok(pointed(&raw, mark.line, span, self.layout.format == Format::Xlsx))
    }
}

/// Where a cell of a CSV record is, its quotes included.
pub(super) fn cell(raw: &[u8], delimiter: u8, index: usize) -> Option<Range<usize>> {
    let (mut start, mut count) = (0, 0);
    let (mut quoted, mut fresh) = (false, true);
    for (at, byte) in raw.iter().copied().enumerate() {
        let ends = !quoted && (byte == delimiter || byte == b'\n' || byte == b'\r');
        if ends && count == index {
            return Some(start..at);
        }
        match byte {
            _ if ends && byte != delimiter => return None,
            _ if ends => {
                count += 1;
                start = at + 1;
                fresh = true;
                continue;
            }
            // A quote opens a cell at its start alone; a doubled one closes and opens again.
            b'"' if quoted => quoted = false,
            b'"' if fresh
                || (at > start && raw.get(at - 1) == Some(&b'"') && raw.get(start) == Some(&b'"')) =>
            {
                quoted = true;
            }
            _ => {}
        }
        fresh = false;
    }
    (count == index).then_some(start..raw.len())
}

/// Where the value of a key is in a JSONL record; the last one, where the key is there twice.
fn member(raw: &[u8], key: &str) -> Option<Range<usize>> {
    let line = raw.split(|byte| *byte == b'\n').next()?;
    let text = str::from_utf8(line.trim_ascii_end()).ok()?;
    let object = Object::parse(text.as_bytes()).ok()?;
    let (_, value) = object.0.iter().rfind(|(name, _)| short(name) == key)?;
    let start = value.get().as_ptr().addr().checked_sub(text.as_ptr().addr())?;
    Some(start..start + value.get().len())
}

/// The line on which the span begins, cut; without a span, the first line as a whole.
fn pointed(raw: &[u8], first_line: u64, span: Option<Range<usize>>, is_sheet: bool) -> Pointed {
    let part = |range: Range<usize>| String::from_utf8_lossy(raw.get(range).unwrap_or_default());
    let start = span.as_ref().map_or(0, |span| span.start);
    let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
    let before = raw.get(..start).unwrap_or_default();
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let line_end = raw.iter().skip(start).position(is_end).map_or(raw.len(), |at| start + at);
    let end = span.map_or(line_end, |span| span.end.min(line_end));
    let breaks = if is_sheet { 0 } else { before.split(|byte| *byte == b'\n').count() as u64 - 1 };
    let left = part(line_start..start);
    let column = left.chars().count() + 1;
    let kept = |range| part(range).chars().take(KEPT_CHARS_MAX).collect::<String>();
    let text = [left.into_owned(), kept(start..end), kept(end..line_end)];
    Pointed { line: first_line + breaks, column, text: text.map(|text: String| visible(&text)), is_sheet }
}

/// How a place is shown.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// The width that there is, in characters.
    pub width: usize,
    /// Whether to use colours.
    pub colors: bool,
}

impl Pointed {
    /// What is wrong, the place (`file:line:column`), and the line with a mark under the cell.
    #[must_use]
    pub fn render(&self, what: &str, file: &str, look: Look) -> String {
        let [before, _, after] = &self.text;
        let source = self.text.concat();
        let span = before.len()..source.len() - after.len();
        let title = clean(what);
        let line = usize::try_from(self.line).unwrap_or(usize::MAX);
        let path = clean(file);
        let path = (!self.is_sheet).then_some(path.as_str());
        let snippet = Snippet::source(source.as_str()).path(path).line_start(line);
        let group = Level::ERROR
            .with_name("invalid")
            .primary_title(title.as_str())
            .element(snippet.annotation(AnnotationKind::Primary.span(span)));
        let renderer = if look.colors { Renderer::styled() } else { Renderer::plain() };
        renderer.term_width(look.width.max(40)).render(&[group])
    }
}
