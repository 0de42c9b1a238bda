//! What an input is by its first bytes, where that is not what it was taken for.
//!
//! Names lie: a `.xls` is often text, a `.xlsx` sometimes an old `.xls`. Nothing is guessed here: a spreadsheet under another
//! name is refused with the way to say so.

use crate::error::Error;

/// A ZIP file, which an `.xlsx` is.
const ZIP: &[u8] = b"PK\x03\x04";

/// The container of old `.xls` files, and of every workbook with a password.
const OLE: &[u8] = b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1";

/// Refuses what spreadsheet programs and archivers make, and people pass on as if it were text.
pub(super) fn refuse_as_text(head: &[u8]) -> Result<(), Error> {
    let complaint = if head.starts_with(OLE) {
        OLD
    } else if !head.starts_with(ZIP) {
        return Ok(());
    } else if holds(head, b"application/vnd.oasis.opendocument") {
        "the input is an OpenDocument file (.ods); save it as .xlsx, or as CSV in UTF-8"
    } else if !cfg!(feature = "xlsx") {
        "the input is a ZIP file, perhaps a spreadsheet (.xlsx); save it as CSV in UTF-8"
    } else if holds(head, b"[Content_Types].xml") || holds(head, b"xl/") {
        "the input is a spreadsheet (.xlsx), and was not to be read as one; say --format xlsx, or end its name in .xlsx"
    } else {
        "the input is a ZIP file; unpack it first, or, if it is a spreadsheet (.xlsx), say --format xlsx"
    };
    Err(Error::Input(complaint.to_owned()))
}

/// Refuses what is called a spreadsheet and is none that can be read here.
#[cfg(feature = "xlsx")]
pub(super) fn refuse_as_sheet(head: &[u8]) -> Result<(), Error> {
    let complaint = if head.starts_with(ZIP) {
        return Ok(());
    } else if head.starts_with(OLE) {
        OLD
    } else if head.is_empty() {
        "the input is empty, and no spreadsheet (.xlsx)"
    } else {
        "the input is no spreadsheet (.xlsx), whatever its name says; if it is text, say --format csv, or tsv or jsonl"
    };
    Err(Error::Input(complaint.to_owned()))
}

const OLD: &str = "the input is an old workbook (.xls), or one with a password; open it, take the password off, and save it as \
                   .xlsx, or as CSV in UTF-8";

fn holds(head: &[u8], part: &[u8]) -> bool {
    head.windows(part.len()).any(|window| window == part)
}
