//! What the readers promise, on files small enough to read here and on one that is not.

mod first_pass;

use std::fs;
use std::io::{Read, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use proptest::prelude::*;
use tempfile::NamedTempFile;

use super::layout::parse_delimiter;
use super::spool::{Kind, digest, plain, take};
use super::*;
use crate::error::Error;

const CSV: Layout = Layout { format: Format::Csv, delimiter: b',', bom: false };
const JSONL: Layout = Layout { format: Format::Jsonl, delimiter: b',', bom: false };

fn file(content: impl AsRef<[u8]>) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(content.as_ref()).unwrap();
    file
}

/// Number, line, byte and text of each record.
fn walk(records: &mut Records) -> Result<Vec<(u64, u64, u64, String)>, Error> {
    let (mut all, mut record) = (Vec::new(), Record::new());
    while records.next(&mut record)? {
        let text = match record.body() {
            Body::Csv(cells) => cells.iter().map(String::from_utf8_lossy).collect::<Vec<_>>().join("|"),
            Body::Jsonl(text) => String::from_utf8_lossy(text).into_owned(),
        };
        all.push((record.number(), record.line(), record.mark().byte, text));
    }
    Ok(all)
}

fn read(content: impl AsRef<[u8]>, layout: Layout) -> Result<Vec<(u64, u64, u64, String)>, Error> {
    let file = file(content);
    walk(&mut Records::open(file.path(), &layout)?)
}

proptest! {
    #[test]
    fn a_record_is_found_again_at_its_mark_whatever_stands_around_it(
        text in "[a\",\r\n ]{0,80}",
        csv: bool,
    ) {
        let layout = if csv { CSV } else { JSONL };
        let file = file(&text);
        let Ok(mut records) = Records::open(file.path(), &layout) else { return Ok(()) };
        let Ok(all) = walk(&mut records) else { return Ok(()) };
        for (index, (row, line, byte, _)) in all.iter().enumerate() {
            records.seek(&Mark { row: *row, byte: *byte, line: *line }).unwrap();
            prop_assert_eq!(&walk(&mut records).unwrap(), &all[index..]);
            let before = &text[..usize::try_from(*byte).unwrap()];
            let breaks = before.replace("\r\n", "\n").matches(['\r', '\n']).count();
            prop_assert!(!csv || *line == breaks as u64 + 1);
        }
    }
}

fn unusable<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    match result.unwrap_err() {
        Error::Input(message) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_format_is_what_was_typed_else_the_ending_else_the_first_byte() {
    let choose = |typed, path: Option<&str>, first| {
        let layout = Layout::choose(typed, None, path.map(Path::new), first, false);
        (layout.format, layout.delimiter)
    };
    assert_eq!(choose(None, Some("a.JSONL"), None), (Format::Jsonl, b','));
    assert_eq!(choose(None, Some("a.ndjson"), None), (Format::Jsonl, b','));
    assert_eq!(choose(None, Some("a.tsv"), None), (Format::Csv, b'\t'));
    assert_eq!(choose(None, Some("a.json"), Some(b'{')), (Format::Jsonl, b','));
    assert_eq!(choose(None, Some("a.jsonl.GZ"), None), (Format::Jsonl, b','));
    assert_eq!(choose(None, Some("a.csv"), Some(b'{')), (Format::Csv, b','));
    assert_eq!(choose(None, Some("a.txt"), Some(b'{')), (Format::Jsonl, b','));
    assert_eq!(choose(None, Some("a.txt"), Some(b't')), (Format::Csv, b','));
    assert_eq!(choose(None, None, Some(b'{')), (Format::Jsonl, b','));
    assert_eq!(choose(None, None, Some(b't')), (Format::Csv, b','));
    assert_eq!(choose(None, None, None), (Format::Csv, b','));
    assert_eq!(choose(Some(Choice::Tsv), Some("a.jsonl"), None), (Format::Csv, b'\t'));
    let typed = Layout::choose(Some(Choice::Tsv), Some(b';'), None, None, true);
    assert_eq!((typed.delimiter, typed.bom), (b';', true));
    assert_eq!("NDJSON".parse(), Ok(Choice::Jsonl));
    assert!("xml".parse::<Choice>().unwrap_err().contains("csv, tsv, jsonl or xlsx"));
}

#[test]
fn a_delimiter_is_one_character_or_the_word_tab() {
    assert_eq!(parse_delimiter(";"), Ok(b';'));
    assert_eq!(parse_delimiter("tab"), Ok(b'\t'));
    assert_eq!(parse_delimiter("\\t"), Ok(b'\t'));
    for wrong in ["", ";;", "\"", "\n", "é"] {
        assert!(parse_delimiter(wrong).is_err(), "{wrong:?}");
    }
}

/// Gives one byte at a time, as a slow pipe does.
struct Drip<'a>(&'a [u8]);

impl Read for Drip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = buffer.len().min(1).min(self.0.len());
        self.0.read(buffer.get_mut(..count).unwrap())
    }
}

#[test]
fn the_spool_is_the_input_without_its_byte_order_mark_and_private() {
    let folder = tempfile::tempdir().unwrap();
    let taken = take(&mut Drip(b"\xEF\xBB\xBF \nticket_id\n1\n"), folder.path()).unwrap();
    assert_eq!(fs::read(taken.file.path()).unwrap(), b" \nticket_id\n1\n");
    assert_eq!(fs::metadata(taken.file.path()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!((taken.nature.bom, taken.bytes, taken.nature.first), (true, 17, Some(b't')));
    let again = digest(&mut Drip(b"\xEF\xBB\xBF \nticket_id\n1\n")).unwrap();
    assert_eq!(again, (taken.sha256, taken.bytes));
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(digest(&mut &b"abc"[..]).unwrap(), (abc.to_owned(), 3));
}

#[test]
fn an_empty_input_and_one_of_many_chunks_are_spooled() {
    let folder = tempfile::tempdir().unwrap();
    let taken = take(&mut std::io::empty(), folder.path()).unwrap();
    assert_eq!((taken.bytes, taken.nature.bom, taken.nature.first), (0, false, None));
    let long = "x\n".repeat(300_000);
    let taken = take(&mut long.as_bytes(), folder.path()).unwrap();
    assert_eq!(fs::read(taken.file.path()).unwrap(), long.as_bytes());
}

#[test]
fn what_is_plainly_no_utf8_text_is_refused_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    for (head, hint) in
        [(&b"\x1F\x8B\x08\0"[..], "the gzip file is cut short"), (b"PK\x03\x04", "the input is a ZIP file")]
    {
        let message = unusable(take(&mut &head[..], folder.path()).map(drop));
        assert!(message.contains(hint), "{message}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn a_spool_that_cannot_be_written_names_the_folder() {
    let error = take(&mut &b"x"[..], Path::new("/nonexistent/folder")).unwrap_err();
    assert!(matches!(&error, Error::Machine(text) if text.contains("/nonexistent/folder")), "{error}");
}

#[test]
fn a_record_knows_the_line_on_which_it_truly_begins() {
    let text = "\n\nticket_id,subject\n\n\n1,one\n2,\"two\nlines\"\n   \n3,three\n\n";
    let rows = read(text, CSV).unwrap();
    let lines: Vec<_> = rows.iter().map(|(row, line, _, cells)| (*row, *line, cells.as_str())).collect();
    assert_eq!(lines, [(1, 6, "1|one"), (2, 7, "2|two\nlines"), (3, 10, "3|three")]);
    for (_, _, byte, cells) in &rows {
        let at = usize::try_from(*byte).unwrap();
        assert_eq!(text.as_bytes()[at], cells.as_bytes()[0]);
    }
    let rows = read("h\r\n\r\n1\r\n\r\n2", CSV).unwrap();
    assert_eq!(rows.iter().map(|row| row.1).collect::<Vec<_>>(), [3, 5]);
    let rows = read("{}\n \n\r\n{\"a\":1}\r\n{}", JSONL).unwrap();
    assert_eq!(rows.iter().map(|row| row.1).collect::<Vec<_>>(), [1, 4, 5]);
}

#[test]
fn reading_goes_on_from_any_mark_as_if_it_had_never_stopped() {
    let bom = "\u{feff}x";
    for (text, layout) in [
        (format!("h,i\n\n1,a\r\n\r\n2,\"b\n\"\r3,c\n{bom},d\n\n5,e"), CSV),
        ("{}\n\n[1]\r\n \n{\"a\":2}\n5".to_owned(), JSONL),
    ] {
        let file = file(text);
        let mut records = Records::open(file.path(), &layout).unwrap();
        let all = walk(&mut records).unwrap();
        for (index, (row, line, byte, _)) in all.iter().enumerate() {
            records.seek(&Mark { row: *row, byte: *byte, line: *line }).unwrap();
            assert_eq!(walk(&mut records).unwrap(), all[index..], "from row {row}");
        }
    }
}

#[test]
fn a_quote_that_is_never_closed_is_named_with_the_place_where_it_opened() {
    let message = unusable(read("ticket_id,subject\n1,\"a\nb\"\n\n2,\"open\n3,x\n", CSV));
    assert!(message.starts_with("line 5, column 2: a quote opens here"), "{message}");
    let message = unusable(read("a,b\n1,\"x\ny\",\"open", CSV));
    assert!(message.starts_with("line 3, column 3"), "{message}");
    let message = unusable(read("ticket_id,\"subject\n1,x\n", CSV));
    assert!(message.starts_with("line 1, column 2"), "{message}");
    let message = unusable(read("\u{feff}\"ticket_id,subject\n1,x\n", CSV));
    assert!(message.starts_with("line 1, column 1"), "{message}");
    for closed in ["a\n\"x\"", "a\n\"x\"\"\"", "a\n\"x\"\n", "a\nx\"y", "a\n\"x\"y", "a\n\"\n\""] {
        assert_eq!(read(closed, CSV).unwrap().len(), 1, "{closed:?}");
    }
}

#[test]
fn a_record_over_a_mebibyte_is_refused_where_it_begins() {
    let rest = "2,b\n".repeat(1_000_000);
    let message = unusable(read(format!("a,b\n1,b\n1,\"open\n{rest}"), CSV));
    assert!(message.starts_with("line 3: ") && message.contains("line 3, column 2"), "{message}");
    let long = "x".repeat(RECORD_BYTES_MAX);
    let message = unusable(read(format!("a,b\n\n{long},y\n"), CSV));
    assert!(message.starts_with("line 3: ") && message.contains("shorten"), "{message}");
    let message = unusable(read(format!("\n{{{long}\n"), JSONL));
    assert!(message.starts_with("line 2: "), "{message}");
    assert_eq!(read(format!("{long}\r\n"), JSONL).unwrap().len(), 1);
    assert_eq!(read(format!("a\n{}\n", &long[1..]), CSV).unwrap().len(), 1);
}

#[test]
fn a_sea_of_blank_lines_is_no_long_record() {
    let blank = "\r\n".repeat(2 * RECORD_BYTES_MAX);
    let rows = read(format!("a\n{blank}1\n{blank}"), CSV).unwrap();
    assert_eq!((rows.len(), rows[0].1), (1, 2 + 2 * RECORD_BYTES_MAX as u64));
}

#[test]
fn a_csv_needs_a_header_line_and_nothing_more() {
    assert!(unusable(read("", CSV)).contains("header line"));
    assert!(unusable(read("\n \n", CSV)).contains("header line"));
    assert!(read("ticket_id,priority\n", CSV).unwrap().is_empty());
    assert!(read("ticket_id,priority", CSV).unwrap().is_empty());
    assert!(read("", JSONL).unwrap().is_empty());
    assert!(read("\n  \n", JSONL).unwrap().is_empty());
}

#[test]
fn a_plain_file_with_a_byte_order_mark_can_be_read_too() {
    let file = file("\u{feff}ticket_id\n1\n");
    let records = Records::open(file.path(), &CSV).unwrap();
    assert_eq!(records.header().unwrap().names(), ["ticket_id"]);
    assert_eq!(read("\u{feff}{}\n", JSONL).unwrap()[0].3, "{}");
}

#[test]
fn one_record_can_read_files_of_both_formats() {
    let (csv, jsonl) = (file("h\nx\n"), file("{}\n"));
    let mut record = Record::new();
    assert!(Records::open(jsonl.path(), &JSONL).unwrap().next(&mut record).unwrap());
    assert!(matches!(record.body(), Body::Jsonl(b"{}")));
    assert!(Records::open(csv.path(), &CSV).unwrap().next(&mut record).unwrap());
    assert!(matches!(record.body(), Body::Csv(cells) if cells == &::csv::ByteRecord::from(vec!["x"])));
}

#[test]
fn a_plain_input_is_told_from_one_that_has_to_be_copied() {
    let is_plain = |content: &[u8], kind| plain(&mut Drip(content), kind).unwrap().is_some();
    assert!(is_plain(b" \nticket_id\n1\n", Kind::Text(None)));
    assert!(is_plain("é".as_bytes(), Kind::Text(Some("UTF-8"))));
    for content in
        [&b"\xEF\xBB\xBFticket_id\n"[..], b"\xFF\xFEt\0", b"\x1F\x8B\x08\0", b"\x28\xB5\x2F\xFD", b"", b"\n"]
    {
        assert!(!is_plain(content, Kind::Text(None)), "{content:?}");
    }
    assert!(!is_plain(b"ticket_id\n", Kind::Text(Some("windows-1252"))));
    assert!(!is_plain(b"ticket_id\n", Kind::Sheet(None, b',')));
    assert!(matches!(plain(&mut &b"PK\x03\x04"[..], Kind::Text(None)), Err(Error::Input(_))));
}
