//! The parts of an `.xlsx`, measured before anybody unpacks them into memory.
//!
//! A small file can unpack to whatever size, and the size that it declares may be a lie; so every part is unpacked once to
//! count its bytes. This holds no part in memory but the shared texts, whose declared number calamine believes.

use std::io::{Read, Seek};

use zip::ZipArchive;

use super::{damaged, too_large};
use crate::error::Error;

/// All parts together. The largest honest sheet, a million rows of some ten short cells, has about half of it.
pub(super) const UNPACKED_BYTES_MAX: u64 = 1 << 30;

/// What is held in memory: all but the sheets, which are read a cell at a time.
const HELD_BYTES_MAX: u64 = 256 << 20;

/// The longest stretch of a sheet without a tag, which is held in memory. Excel's longest cell has 32,767 characters.
const TEXT_BYTES_MAX: usize = 1 << 20;

const CHUNK_BYTES: usize = 64 * 1024;

/// How many bytes the parts unpack to, unless they are too many or no `.xlsx`.
pub(super) fn measure(file: impl Read + Seek) -> Result<u64, Error> {
    let mut archive = ZipArchive::new(file).map_err(damaged)?;
    refuse_other_kinds(&archive)?;
    let (mut all, mut held) = (0_u64, 0_u64);
    for index in 0..archive.len() {
        let mut part = archive.by_index(index).map_err(damaged)?;
        let name = part.name().map_err(damaged)?;
        let name = name.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
        let room = UNPACKED_BYTES_MAX - all;
        if name.starts_with("sheet") {
            all += count(&mut part, room, TEXT_BYTES_MAX)?;
            continue;
        }
        let room = room.min(HELD_BYTES_MAX - held);
        let bytes = if name == "sharedstrings.xml" {
            texts(&mut part, room)?
        } else {
            count(&mut part, room, usize::MAX)?
        };
        (all, held) = (all + bytes, held + bytes);
    }
    Ok(all)
}

/// What is a ZIP file, too, and other programs call a spreadsheet.
fn refuse_other_kinds<R: Read + Seek>(archive: &ZipArchive<R>) -> Result<(), Error> {
    let has = |name: &str| archive.file_names().flatten().any(|known| known.eq_ignore_ascii_case(name));
    let what = match () {
        () if has("xl/workbook.bin") => "the spreadsheet is a binary workbook (.xlsb)",
        () if has("[Content_Types].xml") => return Ok(()),
        () if has("content.xml") => "the spreadsheet is an OpenDocument one (.ods)",
        () => "the input is a ZIP file, and no spreadsheet",
    };
    Err(Error::Input(format!("{what}; save it as .xlsx, or as CSV in UTF-8")))
}

/// Unpacks a part for its size.
pub(super) fn count(part: &mut impl Read, room: u64, stretch_max: usize) -> Result<u64, Error> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let (mut count, mut stretch) = (0, 0);
    loop {
        let read = part.read(&mut chunk).map_err(damaged)?;
        let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else { return Ok(count) };
        count += read as u64;
        stretch = match bytes.iter().rposition(|byte| *byte == b'<') {
            Some(at) => read - at,
            None => stretch + read,
        };
        if count > room || stretch > stretch_max {
            return Err(too_large());
        }
    }
}

/// The same for the shared texts: calamine makes room for as many as they say they are, before it has read one.
fn texts(part: &mut impl Read, room: u64) -> Result<u64, Error> {
    let mut xml = String::new();
    part.take(room + 1).read_to_string(&mut xml).map_err(damaged)?;
    let bytes = xml.len() as u64;
    let said = |rest: &str| {
        let digits: String =
            rest.chars().skip_while(|char| !char.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
        digits.parse::<u64>().unwrap_or(u64::MAX)
    };
    // A text may hold the word, too: then it is looked at in vain, and what follows it is no number of that size.
    let lies = xml.split("uniqueCount=").skip(1).any(|rest| said(rest) > bytes);
    if bytes > room || lies { Err(too_large()) } else { Ok(bytes) }
}
