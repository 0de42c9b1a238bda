//! JSONL records, and the members of one object.
//!
//! A line that does not parse is still a record: it becomes one invalid row, and its text is kept. Values stay
//! raw here, because a generic JSON value would turn long integers into floats and drop equal keys.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Mark, RECORD_BYTES_MAX, UTF8_BOM};
use crate::error::Error;

const BUFFER_BYTES: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct JsonlRows {
    path: PathBuf,
    reader: BufReader<File>,
    /// Where the next line begins.
    byte: u64,
    line: u64,
}

impl JsonlRows {
    pub(super) fn open(path: &Path, file: File) -> Self {
        let reader = BufReader::with_capacity(BUFFER_BYTES, file);
        Self { path: path.to_owned(), reader, byte: 0, line: 1 }
    }

    /// Reads the next line that is not blank; gives its line and byte, `None` at the end.
    pub(super) fn next(&mut self, text: &mut Vec<u8>) -> Result<Option<(u64, u64)>, Error> {
        loop {
            text.clear();
            let (line, byte) = (self.line, self.byte);
            // Two bytes more than a record may have: the line's end is not part of it.
            let count = (&mut self.reader)
                .take(RECORD_BYTES_MAX as u64 + 2)
                .read_until(b'\n', text)
                .map_err(|error| Error::file("read", &self.path, &error))?;
            if count == 0 {
                return Ok(None);
            }
            self.byte += count as u64;
            self.line += 1;
            let whole = text.ends_with(b"\n") || count < RECORD_BYTES_MAX + 2;
            text.truncate(text.trim_ascii_end().len());
            if !whole || text.len() > RECORD_BYTES_MAX {
                return Err(Error::Input(format!(
                    "line {line}: the line is over 1 MiB; write one object a line, and take this row out"
                )));
            }
            if byte == 0 && text.starts_with(UTF8_BOM) {
                text.drain(..UTF8_BOM.len());
            }
            if !text.trim_ascii().is_empty() {
                return Ok(Some((line, byte)));
            }
        }
    }

    pub(super) fn seek(&mut self, mark: &Mark) -> Result<(), Error> {
        self.reader
            .seek(SeekFrom::Start(mark.byte))
            .map_err(|error| Error::file("read", &self.path, &error))?;
        (self.byte, self.line) = (mark.byte, mark.line);
        Ok(())
    }
}

/// The members of an object in their order, equal keys and all; the values to the letter.
#[derive(Debug)]
pub(crate) struct Object<'a>(pub(crate) Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Object<'a> {
    /// Reads one line. The error is a fragment that says what is wrong with it.
    pub(crate) fn parse(line: &'a [u8]) -> Result<Self, String> {
        let text = str::from_utf8(line).map_err(|error| {
            format!("the line is not UTF-8 from byte {} on; save the file as UTF-8", error.valid_up_to() + 1)
        })?;
        if !text.trim_ascii_start().starts_with('{') {
            return Err("the line is not a JSON object; write one object a line, \
                        for instance {\"ticket_id\":1001,\"priority\":\"high\"}"
                .to_owned());
        }
        serde_json::from_str(text).map_err(|error| {
            // The library's own words would quote the line.
            let what = if error.is_eof() { "ends too early" } else { "is not valid JSON" };
            format!("the line {what} at byte {}; correct it there", error.column())
        })
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(8);
                while let Some((Key(key), value)) = map.next_entry()? {
                    members.push((key, value));
                }
                Ok(Object(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// A string that is borrowed where it holds no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct Key<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);
