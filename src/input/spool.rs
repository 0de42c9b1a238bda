//! The input, copied once, so that neither a pipe nor an edit to the file can disturb a run.
//!
//! The digest is of the bytes as they came, packed and with a byte order mark: it is the input's name. The copy is
//! unpacked UTF-8 without the mark, of a spreadsheet the CSV of one sheet, readable by its owner alone, and on disk after
//! [`Taken::sync`]. A failure leaves nothing behind: the file removes itself.

use std::fs::Permissions;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use super::decode::{self, Decoder};
use super::kind;
#[cfg(feature = "xlsx")]
use super::sheet;
use crate::error::{Error, explained, said};
use crate::spooled::check_space;

/// How much is read at once, in bytes.
const CHUNK_BYTES: usize = 128 * 1024;

/// After how many bytes the free space is looked at again while an input is unpacked, whose size nobody knows.
pub(super) const LOOK_EVERY_BYTES: u64 = 64 << 20;

/// A fresh spool.
#[derive(Debug)]
pub struct Taken {
    /// The copy; it is removed when dropped, unless persisted.
    pub file: NamedTempFile,
    /// SHA-256 of the bytes as they came, in lower-case hex.
    pub sha256: String,
    /// How many bytes came, a byte order mark included.
    pub bytes: u64,
    /// What they were.
    pub nature: Nature,
}

/// What was found out about an input from its bytes.
#[derive(Debug, Default)]
pub struct Nature {
    /// Whether it began with a byte order mark or was no UTF-8 text: files that go back get a mark then.
    pub bom: bool,
    /// What nobody had said, for a person.
    pub detected: Vec<String>,
    /// The first byte that is not blank, if any: it tells JSONL from CSV on standard input.
    pub first: Option<u8>,
}

impl Taken {
    /// Brings the copy to the disk, before a run may name it. One that is only read, as `check` does, need not be there.
    pub fn sync(&self) -> Result<(), Error> {
        let folder = self.file.path().parent().unwrap_or_else(|| self.file.path());
        self.file.as_file().sync_all().map_err(|error| write_error(folder, &error))
    }
}

/// What an input's bytes are taken for.
#[derive(Clone, Copy, Debug)]
pub enum Kind<'a> {
    /// Text in the encoding that was typed; `None`: UTF-8, or what a byte order mark says.
    Text(Option<&'a str>),
    /// An `.xlsx`: the sheet that was typed, `None`: the first; and what is to stand between the cells.
    Sheet(Option<&'a str>, u8),
}

/// Copies an input of UTF-8, or of what its byte order mark says, into a new file in `folder`.
pub fn take(source: &mut dyn Read, folder: &Path) -> Result<Taken, Error> {
    take_as(source, folder, Kind::Text(None))
}

/// As [`take`], from whatever kind.
pub fn take_as(source: &mut dyn Read, folder: &Path, kind: Kind<'_>) -> Result<Taken, Error> {
    let mut raw = Raw::new(source)?;
    let packing = Packing::of(&raw.head);
    let copied = match kind {
        Kind::Text(encoding) => {
            packing.open(&mut raw).and_then(|mut bytes| copy(&mut bytes, folder, packing, encoding))
        }
        Kind::Sheet(sheet, delimiter) => copy_sheet(&mut raw, folder, packing, sheet, delimiter),
    };
    // What went wrong with the source itself is no fault of the input's.
    if let Some(error) = &raw.failed {
        return Err(Error::Machine(format!(
            "failed to read the input: {error}; the system's log may say more"
        )));
    }
    let (file, mut nature) = copied?;
    nature.detected.extend(packing.word().map(|word| format!("packed with {word} (detected)")));
    let (sha256, bytes) = raw.finish()?;
    Ok(Taken { file, sha256, bytes, nature })
}

/// What an input is whose copy would be the same to the byte, so that whoever only looks need not take one; `None`: it
/// has to be copied.
pub fn plain(source: &mut dyn Read, kind: Kind<'_>) -> Result<Option<Nature>, Error> {
    let Kind::Text(encoding) = kind else { return Ok(None) };
    let mut head = Vec::new();
    fill(source, &mut head).map_err(|error| unreadable(&error))?;
    if Packing::of(&head) != Packing::None {
        return Ok(None);
    }
    let chosen = decode::choose(&head, encoding);
    kind::refuse_as_text(&head, chosen.encoding.is_none())?;
    let first = first(&head).filter(|_| chosen.mark == 0 && chosen.encoding.is_none());
    Ok(first.map(|first| Nature { first: Some(first), ..Nature::default() }))
}

/// The first byte that is not blank.
fn first(text: &[u8]) -> Option<u8> {
    text.iter().copied().find(|byte| !byte.is_ascii_whitespace())
}

type Copied = (NamedTempFile, Nature);

fn copy(
    bytes: &mut dyn Read,
    folder: &Path,
    packing: Packing,
    encoding: Option<&str>,
) -> Result<Copied, Error> {
    let mut file = new_file(folder).map_err(|error| write_error(folder, &error))?;
    let (mut chunk, mut ahead) = (Vec::new(), Vec::new());
    let broken = |error: io::Error| packing.broken(&error);
    fill(bytes, &mut chunk).map_err(broken)?;
    let chosen = decode::choose(&chunk, encoding);
    kind::refuse_as_text(&chunk, chosen.encoding.is_none())?;
    chunk.drain(..chosen.mark);
    let mut decoder = chosen.encoding.map(Decoder::new);
    let (mut nature, mut written, mut looked) = (Nature::default(), 0, 0);
    loop {
        fill(bytes, &mut ahead).map_err(broken)?;
        let text = match &mut decoder {
            None => chunk.as_slice(),
            Some(decoder) => decoder.decode(&chunk, ahead.is_empty()).map_err(Error::Input)?.as_bytes(),
        };
        nature.first = nature.first.or_else(|| first(text));
        written += text.len() as u64;
        if packing != Packing::None && written - looked >= LOOK_EVERY_BYTES {
            looked = written;
            check_space(folder, LOOK_EVERY_BYTES)?;
        }
        file.as_file_mut().write_all(text).map_err(|error| write_error(folder, &error))?;
        if ahead.is_empty() {
            break;
        }
        std::mem::swap(&mut chunk, &mut ahead);
    }
    let detected = chosen.surprising.map(|name| format!("encoding {name} (detected by its byte order mark)"));
    nature.detected.extend(detected);
    nature.bom = chosen.mark > 0 || chosen.encoding.is_some();
    Ok((file, nature))
}

/// Copies a sheet of a workbook. Its parts lie anywhere in the file, so the file is copied first.
#[cfg(feature = "xlsx")]
fn copy_sheet(
    raw: &mut Raw<'_>,
    folder: &Path,
    packing: Packing,
    sheet: Option<&str>,
    delimiter: u8,
) -> Result<Copied, Error> {
    let workbook = tempfile::tempfile_in(folder).map_err(|error| write_error(folder, &error))?;
    let mut bytes = packing.open(raw)?;
    let mut chunk = Vec::new();
    let (mut copied, mut looked) = (0, 0);
    loop {
        fill(&mut bytes, &mut chunk).map_err(|error| packing.broken(&error))?;
        if copied == 0 {
            kind::refuse_as_sheet(&chunk)?;
        }
        if chunk.is_empty() {
            break;
        }
        copied += chunk.len() as u64;
        if copied - looked >= LOOK_EVERY_BYTES {
            looked = copied;
            check_space(folder, LOOK_EVERY_BYTES)?;
        }
        (&workbook).write_all(&chunk).map_err(|error| write_error(folder, &error))?;
    }
    drop(bytes);
    // Nothing is left to read; it is asked all the same, because that is where a signal shows.
    let mut check = || raw.read(&mut []).map(|_| ());
    let (file, detected) = sheet::convert(&workbook, folder, sheet, delimiter, &mut check)?;
    Ok((file, Nature { bom: true, detected, first: None }))
}

#[cfg(not(feature = "xlsx"))]
fn copy_sheet(_: &mut Raw<'_>, _: &Path, _: Packing, _: Option<&str>, _: u8) -> Result<Copied, Error> {
    Err(Error::Input(
        "the input is a spreadsheet (.xlsx), which this build does not read (it was made without the feature xlsx); save \
         the sheet as CSV in UTF-8"
            .to_owned(),
    ))
}

/// Reads a full chunk, unless the source ends: a pipe may hand over a byte order mark in parts.
fn fill(source: &mut dyn Read, chunk: &mut Vec<u8>) -> io::Result<()> {
    chunk.clear();
    Read::take(source, CHUNK_BYTES as u64).read_to_end(chunk).map(|_| ())
}

/// What an input is wrapped in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    None,
    Gzip,
    Zstd,
}

impl Packing {
    fn of(head: &[u8]) -> Self {
        match head {
            [0x1F, 0x8B, ..] => Self::Gzip,
            [0x28, 0xB5, 0x2F, 0xFD, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    const fn word(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }

    fn open<'a>(self, raw: &'a mut Raw<'_>) -> Result<Box<dyn Read + 'a>, Error> {
        Ok(match self {
            Self::None => Box::new(raw),
            // Not the plain decoder: it would drop what follows the first member without a word.
            Self::Gzip => Box::new(flate2::read::MultiGzDecoder::new(raw)),
            #[cfg(feature = "zstd")]
            Self::Zstd => Box::new(zstd::Decoder::new(raw).map_err(|error| self.broken(&error))?),
            #[cfg(not(feature = "zstd"))]
            Self::Zstd => {
                return Err(Error::Input(
                    "the input is packed with zstd, which this build does not read; unpack it first: \
                     zstd -dc FILE | deskload run -"
                        .to_owned(),
                ));
            }
        })
    }

    fn broken(self, error: &io::Error) -> Error {
        let Some(word) = self.word() else {
            return unreadable(error);
        };
        let what = if error.kind() == ErrorKind::UnexpectedEof { "cut short" } else { "damaged" };
        Error::Input(format!("the {word} file is {what}; get it again from where it was made"))
    }
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

fn unreadable(error: &io::Error) -> Error {
    Error::Machine(format!("failed to read the input: {}", explained(error)))
}

/// The digest (SHA-256, lower-case hex) and length of an input, without keeping it.
pub fn digest(source: &mut dyn Read) -> Result<(String, u64), Error> {
    Raw::new(source)?.finish()
}

/// The source, digested while it is read.
struct Raw<'a> {
    source: &'a mut dyn Read,
    hasher: Sha256,
    count: u64,
    /// The first bytes, read to look at them; handed out from `at` on.
    head: Vec<u8>,
    at: usize,
    /// What went wrong with the source, as opposed to what was made of it.
    failed: Option<String>,
}

impl<'a> Raw<'a> {
    fn new(source: &'a mut dyn Read) -> Result<Self, Error> {
        let mut head = Vec::with_capacity(CHUNK_BYTES);
        fill(source, &mut head).map_err(|error| unreadable(&error))?;
        let mut hasher = Sha256::new();
        hasher.update(&head);
        let count = head.len() as u64;
        Ok(Self { source, hasher, count, head, at: 0, failed: None })
    }

    /// Reads what nobody has read, which belongs to the digest all the same.
    fn finish(mut self) -> Result<(String, u64), Error> {
        use std::fmt::Write as _;
        self.at = self.head.len();
        let mut chunk = vec![0; CHUNK_BYTES];
        while self.read(&mut chunk).map_err(|error| unreadable(&error))? > 0 {}
        let hex = self.hasher.finalize().iter().fold(String::with_capacity(64), |mut hex, byte| {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        Ok((hex, self.count))
    }
}

impl Read for Raw<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut head = self.head.get(self.at..).unwrap_or_default();
        if !head.is_empty() {
            let count = head.read(buffer)?;
            self.at += count;
            return Ok(count);
        }
        match self.source.read(buffer) {
            Ok(count) => {
                self.hasher.update(buffer.get(..count).unwrap_or_default());
                self.count += count as u64;
                Ok(count)
            }
            Err(error) => {
                if error.kind() != ErrorKind::Interrupted {
                    self.failed = Some(said(&error));
                }
                Err(error)
            }
        }
    }
}

pub(super) fn write_error(folder: &Path, error: &std::io::Error) -> Error {
    if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
        return Error::Machine(format!(
            "failed to copy the input into {}: the disk is full; make room there and start again",
            folder.display()
        ));
    }
    Error::file("copy the input into", folder, error)
}
