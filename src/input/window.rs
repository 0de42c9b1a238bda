//! The raw bytes of the record being read, under the CSV parser.
//!
//! The csv crate swallows the rest of the file after a quote that is never closed, and says nothing; and its
//! positions point at the blank lines before a record. So this reader keeps what it hands out until the record
//! is done: it knows on which line the record really begins, and refuses to go on when it is too long. It must
//! not judge cells. Its memory is at most two records and one chunk.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use memchr::memchr2_iter;

use super::{RECORD_BYTES_MAX, UTF8_BOM};

/// What a line is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lines {
    /// What a line break ends.
    Breaks,
    /// A record, whatever line breaks its cells hold, or a blank line: the copy of a spreadsheet is so.
    Records,
}

/// A file, and the part of it that belongs to the current record.
#[derive(Debug)]
pub(super) struct Window {
    file: File,
    kept: Vec<u8>,
    /// Where the current record begins in `kept`.
    start: usize,
    /// Where `kept` begins in the file.
    base: u64,
    /// The line on which `start` stands.
    line: u64,
    /// Whether the byte before `start` was a carriage return, so that a line feed ends no further line.
    after_cr: bool,
    lines: Lines,
    ended: bool,
    overflowed: bool,
}

impl Window {
    pub(super) fn new(file: File, lines: Lines) -> Self {
        Self {
            file,
            kept: Vec::new(),
            start: 0,
            base: 0,
            line: 1,
            after_cr: false,
            lines,
            ended: false,
            overflowed: false,
        }
    }

    /// Says which line the place is on that was just sought.
    pub(super) fn set_line(&mut self, line: u64) {
        self.line = line;
    }

    /// The line where the current record begins.
    pub(super) const fn line(&self) -> u64 {
        self.line
    }

    /// The byte of the file where the current record begins.
    pub(super) fn byte(&self) -> u64 {
        self.base + self.start as u64
    }

    /// Whether the end of the file was seen: the record that finishes then is the last.
    pub(super) const fn ended(&self) -> bool {
        self.ended
    }

    /// Whether reading stopped because the record is too long.
    pub(super) const fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// The current record's bytes, up to byte `end` of the file, or up to what was read.
    pub(super) fn until(&self, end: u64) -> &[u8] {
        self.kept.get(self.start..self.index(end)).unwrap_or_default()
    }

    /// Where a quote opened that the current record's bytes up to `end` do not close: line and cell, from 1.
    pub(super) fn open_quote(&self, end: u64, delimiter: u8) -> Option<(u64, usize)> {
        let mut raw = self.until(end);
        if self.byte() == 0 {
            // The parser takes the mark off, too.
            raw = raw.strip_prefix(UTF8_BOM).unwrap_or(raw);
        }
        open_quote(raw, delimiter, self.line)
    }

    /// The current record ends at byte `end` of the file; the next begins there.
    pub(super) fn advance(&mut self, end: u64) {
        let index = self.index(end).max(self.start);
        match self.lines {
            Lines::Breaks => self.count_lines(index),
            Lines::Records => {
                self.line += u64::from(index > self.start);
                self.start = index;
            }
        }
    }

    /// Blank lines belong to no record.
    pub(super) fn skip_blank(&mut self) {
        let blank = self.until(u64::MAX).iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        self.count_lines(self.start + blank);
    }

    fn count_lines(&mut self, to: usize) {
        if to == self.start {
            return;
        }
        let text = self.kept.get(self.start..to).unwrap_or_default();
        // A break of two bytes ends one line, even if the record before ended between them.
        let mut after_cr = self.after_cr.then_some(0);
        for at in memchr2_iter(b'\r', b'\n', text) {
            let is_cr = text.get(at) == Some(&b'\r');
            self.line += u64::from(is_cr || after_cr != Some(at));
            after_cr = is_cr.then_some(at + 1);
        }
        self.after_cr = after_cr == Some(text.len());
        self.start = to;
    }

    fn index(&self, byte: u64) -> usize {
        let offset = usize::try_from(byte.saturating_sub(self.base)).unwrap_or(usize::MAX);
        offset.min(self.kept.len())
    }
}

impl Read for Window {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.skip_blank();
        self.kept.drain(..self.start);
        self.base += self.start as u64;
        self.start = 0;
        if self.kept.len() > RECORD_BYTES_MAX {
            self.overflowed = true;
            return Err(io::Error::other("the record is too long"));
        }
        let count = self.file.read(buffer)?;
        self.ended = count == 0;
        self.kept.extend_from_slice(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

impl Seek for Window {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.base = self.file.seek(to)?;
        self.kept.clear();
        self.start = 0;
        self.after_cr = false;
        self.ended = false;
        self.overflowed = false;
        Ok(self.base)
    }
}

/// Walks over one record as the parser does, but minds nothing save its quotes.
fn open_quote(record: &[u8], delimiter: u8, first_line: u64) -> Option<(u64, usize)> {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        CellStart,
        Plain,
        Quoted,
        QuoteInQuoted,
    }
    let (mut state, mut line, mut after_cr, mut cell) = (State::CellStart, first_line, false, 1);
    let mut opened = (first_line, 1);
    for &byte in record {
        state = match (state, byte) {
            (State::CellStart, b'"') => {
                opened = (line, cell);
                State::Quoted
            }
            (State::Quoted, b'"') => State::QuoteInQuoted,
            (State::Quoted, _) | (State::QuoteInQuoted, b'"') => State::Quoted,
            (_, byte) if byte == delimiter => {
                cell += 1;
                State::CellStart
            }
            _ => State::Plain,
        };
        line += u64::from(byte == b'\r' || (byte == b'\n' && !after_cr));
        after_cr = byte == b'\r';
    }
    (state == State::Quoted).then_some(opened)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn ten_mebibytes() -> Window {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&b"x".repeat(10 << 20)).unwrap();
        file.rewind().unwrap();
        Window::new(file, Lines::Breaks)
    }

    #[test]
    fn a_record_without_an_end_stops_the_reading_before_it_fills_the_memory() {
        let mut window = ten_mebibytes();
        let mut buffer = vec![0; 64 << 10];
        while window.read(&mut buffer).is_ok() {}
        assert!(window.overflowed());
        assert!(window.kept.capacity() <= 4 << 20);
    }

    #[test]
    fn a_line_ends_with_each_break_wherever_the_records_are_cut() {
        let text = b"\n\r\r\na\r\n\n\rb\n\r";
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let mut window = ten_mebibytes();
                window.kept = text.to_vec();
                for end in [first, second, text.len()] {
                    window.advance(end as u64);
                }
                assert_eq!(window.line(), 1 + 8, "{first}, {second}");
                assert!(window.after_cr);
            }
        }
    }

    #[test]
    fn records_that_are_done_are_let_go() {
        let mut window = ten_mebibytes();
        let mut buffer = vec![0; 64 << 10];
        while window.read(&mut buffer).unwrap() > 0 {
            window.advance(u64::MAX);
        }
        assert_eq!(window.byte(), 10 << 20);
        assert!(window.kept.capacity() <= 256 << 10);
    }
}
