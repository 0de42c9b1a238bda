//! What the readers promise, on files small enough to read here and on one that is not.

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
use crate::mapping::{Complaint, Mapping, MappingSpec};

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

fn lines(count: u64, line: fn(u64) -> String) -> String {
    (1..=count).map(line).collect()
}

fn look(text: &str, layout: Layout, strict: bool) -> (Result<Survey, Error>, Vec<Invalid>) {
    let file = file(text);
    let mut records = Records::open(file.path(), &layout).unwrap();
    let mapping = Mapping::resolve(&MappingSpec::default(), records.header()).unwrap();
    let mut invalid = Vec::new();
    let survey = survey(&mut records, &mapping, strict, &mut |seen| {
        invalid.extend(seen.result.err().cloned());
        Ok(())
    });
    (survey, invalid)
}

#[test]
fn the_survey_counts_rows_and_tells_each_invalid_one() {
    let text = "ticket_id,priority,custom_fields.B,custom_fields.A\n\
                1,high,,x\n01,HIGH,,x\n2,urgent,,\n\n3,low,y,\n1,high,,x\n";
    let (survey, invalid) = look(text, CSV, false);
    let survey = survey.unwrap();
    assert_eq!((survey.rows, survey.invalid, survey.identical), (5, 1, 2));
    assert_eq!(survey.custom_fields, ["A", "B"]);
    assert_eq!(survey.marks, [Mark { row: 1, byte: 51, line: 2 }]);
    assert_eq!((invalid[0].row, invalid[0].line), (3, 4));
    assert!(invalid[0].message.starts_with("line 4, column 2 (priority): "), "{}", invalid[0].message);
}

#[test]
fn marks_are_1024_rows_apart_and_lead_to_their_rows() {
    let rows = lines(3_000, |id| format!("{id},low\n"));
    let text = format!("ticket_id,priority\n{rows}");
    let survey = look(&text, CSV, false).0.unwrap();
    assert_eq!(survey.marks.iter().map(|mark| mark.row).collect::<Vec<_>>(), [1, 1_025, 2_049]);
    let file = file(&text);
    let mut records = Records::open(file.path(), &CSV).unwrap();
    for mark in survey.marks {
        let mut record = Record::new();
        records.seek(&mark).unwrap();
        assert!(records.next(&mut record).unwrap());
        assert_eq!(record.mark(), mark);
        assert!(matches!(record.body(), Body::Csv(cells) if cells[0] == *mark.row.to_string().as_bytes()));
    }
}

#[test]
fn strict_reads_everything_and_then_names_the_first_invalid_rows() {
    let rows = lines(9, |id| format!("{id},urgent\n"));
    let (survey, invalid) = look(&format!("ticket_id,priority\n{rows}"), CSV, true);
    let message = unusable(survey);
    assert!(message.starts_with("9 of 9 rows") && message.contains("line 6, column 2"), "{message}");
    assert!(message.ends_with("and 4 more"), "{message}");
    assert_eq!(invalid.len(), 9);
    assert!(look("ticket_id,priority\n1,low\n", CSV, true).0.is_ok());
}

#[test]
fn a_key_that_means_nothing_makes_the_jsonl_unusable_and_a_broken_line_does_not() {
    let (survey, invalid) = look("{\"ticket_id\":1,\"name\":\"a\"}\n{\"ticket_id\n", JSONL, false);
    assert_eq!((survey.unwrap().invalid, invalid[0].line), (1, 2));
    let message = unusable(look("\n{\"ticket_id\":1,\"prio\":\"low\"}\n", JSONL, false).0);
    assert!(message.starts_with("line 2, key \"prio\": "), "{message}");
    assert!(message.contains("did you mean priority?"), "{message}");
}

#[test]
fn what_ends_the_input_is_told_after_every_row_before_it() {
    let rows = lines(9_000, |id| format!("{id},{}\n", if id == 4_321 { "urgent" } else { "low" }));
    let text = format!("ticket_id,priority\n{rows}1,\"low\n");
    let file = file(text);
    let mut records = Records::open(file.path(), &CSV).unwrap();
    let mapping = Mapping::resolve(&MappingSpec::default(), records.header()).unwrap();
    let mut seen = Vec::new();
    let survey = survey(&mut records, &mapping, false, &mut |row| {
        seen.push((row.row.number(), row.row.line(), row.result.map(|asks| asks.ticket().get()).ok()));
        Ok(())
    });
    assert!(unusable(survey).starts_with("line 9002, column 2: a quote opens here"));
    let expected = (1..=9_000).map(|row| (row, row + 1, (row != 4_321).then_some(row)));
    assert!(seen.into_iter().eq(expected));
}

#[test]
fn a_row_asks_for_the_same_whether_it_is_looked_at_or_sent() {
    let csv: &[u8] = b"ticket_id,subject,email,custom_fields.A,custom_fields\n\
        1,x, a@b.c ,y,\"[{\"\"id\"\":\"\"B\"\",\"\"value\"\":1}]\"\n2,\xC3,\xA9@b.c,z,\n3, ,,,\n4,a\0b,,,\n\
        5,#N/A,,,\n6,#7,\xC3\xA9,\xFF,\n 07 ,,,\xC2\xA0,\n8,,,y,\"[{\"\"id\"\":\"\"a\"\",\"\"value\"\":\"\"\\u00e9\"\"}]\"\n9,1\n";
    let jsonl: &[u8] = b"{\"subject\":\"\\u00e9\",\"custom_fields.A\":\"x\",\"ticket_id\":1,\"email\":\" e \"}\n\
        {\"ticket_id\":\"2\",\"custom_fields\":\"[{\\\"id\\\":\\\"B\\\",\\\"value\\\":[1]}]\",\"name\":\"n\"}\n\
        {\"ticket_id\":3,\"name\":true}\n{\"ticket_id\":4,\"name\":\"\\ud800\"}\n{\"ticket_id\":5}\n";
    for (text, layout) in [(csv, CSV), (jsonl, JSONL)] {
        let file = file(text);
        let mut records = Records::open(file.path(), &layout).unwrap();
        let mapping = Mapping::resolve(&MappingSpec::default(), records.header()).unwrap();
        let mut looked = Vec::new();
        survey(&mut records, &mapping, false, &mut |seen| {
            looked.push(
                seen.result.map(|asks| asks.update().unwrap()).map_err(|invalid| invalid.message.clone()),
            );
            Ok(())
        })
        .unwrap();
        let mut records = Records::open(file.path(), &layout).unwrap();
        let (mut sent, mut record) = (Vec::new(), Record::new());
        while records.next(&mut record).unwrap() {
            sent.push(match mapping.update(&record) {
                Ok(mapped) => Ok(mapped.update),
                Err(Complaint::Row(trouble)) => Err(trouble.to_string()),
                Err(Complaint::Input(error)) => panic!("{error}"),
            });
        }
        assert_eq!(looked, sent);
        assert!(sent.iter().any(Result::is_ok) && sent.iter().any(Result::is_err));
    }
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

#[test]
fn an_error_of_the_listener_ends_the_survey() {
    let file = file("ticket_id,priority\nx,low\n1,low\n");
    let mut records = Records::open(file.path(), &CSV).unwrap();
    let mapping = Mapping::resolve(&MappingSpec::default(), records.header()).unwrap();
    let stop = survey(&mut records, &mapping, false, &mut |_| Err(Error::Machine("journal".to_owned())));
    assert!(matches!(stop, Err(Error::Machine(_))));
}

#[test]
#[ignore = "a measurement: cargo test --release --lib a_million -- --ignored --nocapture"]
fn a_million_rows_are_surveyed_in_about_a_second() {
    let rows = lines(1_000_000, |id| {
        format!("{id},agent{}@example.com,high,\"Order, {id}\",ST007-009,Micro\n", id % 97)
    });
    let text = format!("ticket_id,email,priority,subject,staff,custom_fields.CF007-07\n{rows}");
    measure(&text, CSV);
    let text = lines(1_000_000, |id| {
        let row = r#""priority":"high","custom_fields":[{"id":"CF007-07","value":"Micro"}]"#;
        format!(
            "{{\"ticket_id\":{id},\"email\":\"a{}@example.com\",\"subject\":\"Order, {id}\",{row}}}\n",
            id % 97
        )
    });
    measure(&text, JSONL);
}

fn measure(text: &str, layout: Layout) {
    let file = file(text);
    let mut records = Records::open(file.path(), &layout).unwrap();
    let mapping = Mapping::resolve(&MappingSpec::default(), records.header()).unwrap();
    let start = std::time::Instant::now();
    let survey = survey(&mut records, &mapping, false, &mut |_| Ok(())).unwrap();
    println!("{:?}, {} bytes: {:?}", layout.format, text.len(), start.elapsed());
    assert_eq!((survey.rows, survey.invalid), (1_000_000, 0));
}
