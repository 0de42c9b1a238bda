//! What an input is by its first bytes, where that is not what it was taken for.
//!
//! Names lie: a `.xls` is often text, a `.xlsx` sometimes an old `.xls`, and what a link gave is sometimes the page that
//! asks for the password. Nothing is guessed here: what is known for something else is refused as what it is, before
//! anything in it is taken for a header, and a spreadsheet under another name with the way to say so.

use crate::error::Error;

/// A ZIP file, which an `.xlsx` is.
const ZIP: &[u8] = b"PK\x03\x04";

/// The container of old `.xls` files, and of every workbook with a password.
const OLE: &[u8] = b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1";

/// Refuses what programs and archivers make, and people pass on as if it were text. `is_plain`: nobody said that the
/// text has an encoding of its own, so that bytes of zero mean something else.
pub(super) fn refuse_as_text(head: &[u8], is_plain: bool) -> Result<(), Error> {
    let zipped = || {
        if holds(head, b"application/vnd.oasis.opendocument") {
            "the input is an OpenDocument file (.ods); save it as .xlsx, or as CSV in UTF-8"
        } else if !cfg!(feature = "xlsx") {
            "the input is a ZIP file, perhaps a spreadsheet (.xlsx); save it as CSV in UTF-8"
        } else if holds(head, b"[Content_Types].xml") || holds(head, b"xl/") {
            "the input is a spreadsheet (.xlsx), and was not to be read as one; say --format xlsx, or end its name in .xlsx"
        } else {
            "the input is a ZIP file; unpack it first, or, if it is a spreadsheet (.xlsx), say --format xlsx"
        }
    };
    let complaint = match () {
        () if head.starts_with(OLE) => OLD.to_owned(),
        () if head.starts_with(ZIP) => zipped().to_owned(),
        () if is_json_list(head) => JSON_LIST.to_owned(),
        () => match known(head).or_else(|| zeros(head).filter(|_| is_plain)) {
            None => return Ok(()),
            Some((what, advice)) => format!("the input is {what}; {advice}"),
        },
    };
    Err(Error::Input(complaint))
}

/// Refuses what is called a spreadsheet and is none that can be read here.
#[cfg(feature = "xlsx")]
pub(super) fn refuse_as_sheet(head: &[u8]) -> Result<(), Error> {
    let complaint = match () {
        () if head.starts_with(ZIP) => return Ok(()),
        () if head.starts_with(OLE) => OLD.to_owned(),
        () if head.is_empty() => "the input is empty, and no spreadsheet (.xlsx); save it anew".to_owned(),
        () => match known(head) {
            Some((what, advice)) => format!("the input is {what}; {advice}"),
            None => "the input is no spreadsheet (.xlsx), whatever its name says; if it is text, say --format csv, or \
                     tsv or jsonl"
                .to_owned(),
        },
    };
    Err(Error::Input(complaint))
}

const OLD: &str = "the input is an old workbook (.xls), or one with a password; open it, take the password off, and save it as \
                   .xlsx, or as CSV in UTF-8";

const JSON_LIST: &str =
    "the input is one JSON list; write one object a line instead (JSONL): jq -c '.[]' FILE >rows.jsonl";

/// What it is, and what to do.
type Known = (&'static str, &'static str);

const ROWS: &str = "give the rows themselves, as CSV, JSONL or .xlsx";
const UNPACK: &str = "unpack it first (gzip and zstd alone are unpacked here)";

/// What nobody would write at the start of a header or of a row.
const STARTS: [(&[u8], Known); 20] = [
    (b"%PDF-", ("a PDF, not text", ROWS)),
    (b"{\\rtf", ("a document (.rtf), not CSV", ROWS)),
    (b"\x89PNG\r\n", ("a picture (PNG), not text", ROWS)),
    (b"\xFF\xD8\xFF", ("a picture (JPEG), not text", ROWS)),
    (b"GIF87a", ("a picture (GIF), not text", ROWS)),
    (b"GIF89a", ("a picture (GIF), not text", ROWS)),
    (b"\x7FELF", ("a program, not text", ROWS)),
    (b"MZ\x90\0", ("a program (.exe), not text", ROWS)),
    (b"\xCF\xFA\xED\xFE", ("a program, not text", ROWS)),
    (b"#!/", ("a script, not CSV", ROWS)),
    (b"SQLite format 3\0", ("a SQLite database, not text", ROWS)),
    (b"PAR1\x15", ("a Parquet file, not text", ROWS)),
    (b"\x1F\x8B", ("packed with gzip twice", "unpack it first: gzip -dc FILE")),
    (b"\x28\xB5\x2F\xFD", ("packed with zstd twice", "unpack it first: zstd -dc FILE")),
    (b"BZh91AY&SY", ("packed with bzip2", UNPACK)),
    (b"\xFD7zXZ\0", ("packed with xz", UNPACK)),
    (b"7z\xBC\xAF\x27\x1C", ("an archive (7z)", UNPACK)),
    (b"Rar!\x1A\x07", ("an archive (RAR)", UNPACK)),
    (b"PK\x05\x06", ("a ZIP file with nothing in it", ROWS)),
    (b"-----BEGIN ", ("a key or certificate, not CSV", ROWS)),
];

/// As [`STARTS`], behind a byte order mark and blanks, in whatever case.
const PAGES: [(&str, Known); 5] = [
    ("<!doctype html", PAGE),
    ("<html", PAGE),
    ("<table", PAGE),
    ("<head", PAGE),
    (
        "<?xml",
        (
            "an XML file, not CSV",
            "open it in a spreadsheet program, and save it as .xlsx, or as CSV in UTF-8",
        ),
    ),
];

const PAGE: Known = (
    "an HTML page, not CSV",
    "look at it in a browser: it may be a page that asks for a password or tells of an error, and no export; a table of \
     a web page can be opened in a spreadsheet program and saved as .xlsx, or as CSV in UTF-8",
);

/// Where a tar archive says that it is one.
const TAR: std::ops::Range<usize> = 257..262;

fn known(head: &[u8]) -> Option<Known> {
    let start = STARTS.iter().find(|(start, _)| head.starts_with(start)).map(|(_, known)| *known);
    let is_tar = head.get(TAR) == Some(b"ustar");
    let tar = is_tar.then_some(("an archive (.tar)", "unpack it first: tar -xf FILE"));
    start.or(tar).or_else(|| {
        let text = text(head);
        let is = |start: &str| {
            text.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start.as_bytes()))
        };
        PAGES.iter().find(|(start, _)| is(start)).map(|(_, known)| *known)
    })
}

/// A list, and in it an object or nothing: what a program writes that does not write a line at a time.
fn is_json_list(head: &[u8]) -> bool {
    let inside = text(head).strip_prefix(b"[").map(<[u8]>::trim_ascii_start);
    inside.is_some_and(|inside| matches!(inside.first(), Some(b'{' | b']')))
}

/// Bytes of zero in the first line: text in two bytes a letter that does not say so, or no text at all.
fn zeros(head: &[u8]) -> Option<Known> {
    let line = head.split(|byte| *byte == b'\n').next()?;
    let zeros = |from: usize| line.iter().skip(from).step_by(2).filter(|byte| **byte == 0).count();
    let most = line.len() / 2 * 9 / 10;
    match (zeros(0), zeros(1)) {
        (0, 0) => None,
        (0, odd) if odd > most => Some(("text in UTF-16 without its mark", "say --encoding utf-16le")),
        (even, 0) if even > most => Some(("text in UTF-16 without its mark", "say --encoding utf-16be")),
        // The first line of JSONL is a row, which is invalid by itself.
        _ if line.starts_with(b"{") => None,
        _ => Some(("not text: its first line holds bytes of zero", ROWS)),
    }
}

fn text(head: &[u8]) -> &[u8] {
    head.strip_prefix(super::UTF8_BOM).unwrap_or(head).trim_ascii_start()
}

fn holds(head: &[u8], part: &[u8]) -> bool {
    head.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(head: &[u8]) -> Option<String> {
        refuse_as_text(head, true).err().map(|error| error.to_string())
    }

    #[test]
    fn what_is_no_text_is_refused_as_what_it_is() {
        let mut tar = b"rows.csv".to_vec();
        tar.resize(257, 0);
        tar.extend(b"ustar\x0000");
        for (head, what) in [
            (&b"%PDF-1.7\n"[..], "a PDF"),
            (b"\x89PNG\r\n\x1a\n", "a picture (PNG)"),
            (b"\x7FELF\x02", "a program"),
            (b"MZ\x90\0\x03", "a program (.exe)"),
            (b"\x1F\x8B\x08", "packed with gzip twice"),
            (b"BZh91AY&SY", "packed with bzip2"),
            (&tar, "an archive (.tar)"),
            (b"\xEF\xBB\xBF \r\n<!DOCTYPE HTML>", "an HTML page"),
            (b"<html lang=\"de\">", "an HTML page"),
            (b"<?xml version=\"1.0\"?>", "an XML file"),
            (b"\n [\n  {\"ticket_id\": 1}\n]", "one JSON list"),
            (b"[]", "one JSON list"),
            (b"t\0i\0c\0k\0e\0t\0\n\0", "text in UTF-16 without its mark; say --encoding utf-16le"),
            (b"\0t\0i\0c\0k\0e\0t\0\n", "text in UTF-16 without its mark; say --encoding utf-16be"),
            (b"ab\0\0\x01c,d", "not text"),
        ] {
            let told = told(head).unwrap_or_default();
            assert!(told.starts_with(&format!("the input is {what}")), "{what}: {told:?}");
        }
    }

    #[test]
    fn text_is_let_through_whatever_it_looks_like() {
        for head in [
            &b""[..],
            b"ticket_id,subject\n1,\0\n",
            b"ticket_id,PDF\n",
            b"MZ,ticket_id\n",
            b"[ticket_id],[subject]\n",
            b"<b>,ticket_id\n",
            b"{\"ticket_id\":1}\n",
            b"{\"ticket_id\":1,\"name\":\"a\0\"}\n",
            b"PAR1,ticket_id\n",
        ] {
            assert_eq!(told(head), None, "{:?}", String::from_utf8_lossy(head));
        }
        assert!(refuse_as_text(b"t\0i\0c\0", false).is_ok(), "its encoding was said");
    }
}
