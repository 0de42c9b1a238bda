//! The input, copied once, so that neither a pipe nor an edit to the file can disturb a run.
//!
//! The digest is of the bytes as they came, a byte order mark included: it is the input's name. The copy is
//! without the mark, readable by its owner alone, and on disk before [`take`] returns. What is plainly no UTF-8
//! text is refused here with the way out. A failure leaves nothing behind: the file removes itself.

use std::fs::Permissions;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use super::UTF8_BOM;
use crate::error::Error;

/// How much is read at once, in bytes.
const CHUNK_BYTES: usize = 128 * 1024;

/// A fresh spool.
#[derive(Debug)]
pub struct Taken {
    /// The copy; it is removed when dropped, unless persisted.
    pub file: NamedTempFile,
    /// SHA-256 of the bytes as they came, in lower-case hex.
    pub sha256: String,
    /// How many bytes came, a byte order mark included.
    pub bytes: u64,
    /// Whether a UTF-8 byte order mark was taken off.
    pub bom: bool,
    /// The first byte that is not blank, if any: it tells JSONL from CSV on standard input.
    pub first: Option<u8>,
}

/// Copies the input into a new file in `folder`.
pub fn take(source: &mut dyn Read, folder: &Path) -> Result<Taken, Error> {
    let mut file = new_file(folder).map_err(|error| write_error(folder, &error))?;
    let mut bytes = Bytes::new(source);
    let head = bytes.next()?;
    refuse_other_kinds(head)?;
    let bom = head.starts_with(UTF8_BOM);
    let mut chunk = if bom { head.get(UTF8_BOM.len()..).unwrap_or_default() } else { head };
    let mut first = None;
    loop {
        first = first.or_else(|| chunk.iter().copied().find(|byte| !byte.is_ascii_whitespace()));
        file.as_file_mut().write_all(chunk).map_err(|error| write_error(folder, &error))?;
        chunk = bytes.next()?;
        if chunk.is_empty() {
            break;
        }
    }
    file.as_file().sync_all().map_err(|error| write_error(folder, &error))?;
    let (sha256, bytes) = bytes.finish();
    Ok(Taken { file, sha256, bytes, bom, first })
}

/// A file to write a spool into, which removes itself. While it is locked, nobody sweeps it away as the leftover of
/// a killed process; nor in the moment before, because only old ones are swept.
pub(crate) fn new_file(folder: &Path) -> io::Result<NamedTempFile> {
    let file = tempfile::Builder::new().prefix(".spool-").tempfile_in(folder)?;
    file.as_file().lock()?;
    // The umask can only take rights away; it may even have taken the owner's.
    file.as_file().set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

/// The digest (SHA-256, lower-case hex) and length of an input, without keeping it.
pub fn digest(source: &mut dyn Read) -> Result<(String, u64), Error> {
    let mut bytes = Bytes::new(source);
    while !bytes.next()?.is_empty() {}
    Ok(bytes.finish())
}

/// The source, digested while it is read.
struct Bytes<'a> {
    source: &'a mut dyn Read,
    hasher: Sha256,
    count: u64,
    chunk: Vec<u8>,
}

impl<'a> Bytes<'a> {
    fn new(source: &'a mut dyn Read) -> Self {
        Self { source, hasher: Sha256::new(), count: 0, chunk: Vec::with_capacity(CHUNK_BYTES) }
    }

    /// The next bytes, a full chunk unless the source ends; empty at the end. Full, because a pipe may hand
    /// over a byte order mark in parts.
    fn next(&mut self) -> Result<&[u8], Error> {
        self.chunk.clear();
        let mut limited = Read::take(&mut *self.source, CHUNK_BYTES as u64);
        limited
            .read_to_end(&mut self.chunk)
            .map_err(|error| Error::Machine(format!("failed to read the input: {error}")))?;
        self.hasher.update(&self.chunk);
        self.count += self.chunk.len() as u64;
        Ok(&self.chunk)
    }

    fn finish(self) -> (String, u64) {
        use std::fmt::Write as _;
        let hex = self.hasher.finalize().iter().fold(String::with_capacity(64), |mut hex, byte| {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        (hex, self.count)
    }
}

/// What a spreadsheet or an archiver makes, and people pass on as if it were text.
fn refuse_other_kinds(head: &[u8]) -> Result<(), Error> {
    let complaint = match head {
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => {
            "the input is UTF-16, which is not read; save it as UTF-8 (in Excel: \"CSV UTF-8\")"
        }
        [0x1F, 0x8B, ..] | [0x28, 0xB5, 0x2F, 0xFD, ..] => {
            "the input is compressed; unpack it first, for instance with gzip -dc FILE | deskload run -"
        }
        [b'P', b'K', 3, 4, ..] => {
            "the input is a ZIP file, perhaps a spreadsheet (.xlsx); save it as CSV in UTF-8"
        }
        _ => return Ok(()),
    };
    Err(Error::Input(complaint.to_owned()))
}

fn write_error(folder: &Path, error: &std::io::Error) -> Error {
    if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
        return Error::Machine(format!(
            "failed to copy the input into {}: the disk is full; make room there and start again",
            folder.display()
        ));
    }
    Error::file("copy the input into", folder, error)
}
