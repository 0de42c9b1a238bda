//! A result file keeps what came, and can be used as an input again.

use std::io::Write as _;

use proptest::prelude::*;
use tempfile::NamedTempFile;

use super::*;
use crate::input::Records;
use crate::mapping::{Complaint, Mapped, Mapping, MappingSpec, Origin};

const CSV: Layout = Layout { format: Format::Csv, delimiter: b',', bom: false };
const JSONL: Layout = Layout { format: Format::Jsonl, delimiter: b',', bom: false };
const ADDED: Added<'_> = Added {
    run: 7,
    row: 12,
    outcome: "failed",
    reason: "refused",
    message: "=1+1\u{1b}\n\"no\"",
    http_status: Some(422),
    attempts: 1,
};

fn file(content: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    file
}

/// The result file that holds every row of an input.
fn written(content: &[u8], layout: Layout, added: &Added<'_>) -> Vec<u8> {
    let file = file(content);
    let mut records = Records::open(file.path(), &layout).unwrap();
    let mut result = ResultFile::create(Vec::new(), &layout, records.header()).unwrap();
    let mut record = Record::new();
    while records.next(&mut record).unwrap() {
        result.write(&record, &Added { row: record.number(), ..*added }).unwrap();
    }
    result.finish().unwrap()
}

fn text(content: impl AsRef<[u8]>, layout: Layout) -> String {
    String::from_utf8(written(content.as_ref(), layout, &ADDED)).unwrap()
}

fn mapped(content: &[u8], layout: Layout) -> Vec<Result<Mapped, String>> {
    let file = file(content);
    let mut records = Records::open(file.path(), &layout).unwrap();
    let spec = MappingSpec { ignore_unknown: true, ..MappingSpec::default() };
    let mapping = Mapping::resolve(&spec, records.header()).unwrap();
    let (mut all, mut record) = (Vec::new(), Record::new());
    while records.next(&mut record).unwrap() {
        all.push(mapping.update(&record).map_err(|complaint| match complaint {
            Complaint::Row(trouble) => trouble.to_string(),
            Complaint::Input(error) => panic!("{error}"),
        }));
    }
    all
}

const OURS: &str = "_deskload_run,_deskload_row,_deskload_outcome,_deskload_reason,_deskload_message,\
                    _deskload_http_status,_deskload_attempts";

#[test]
fn a_csv_row_keeps_its_cells_and_our_columns_are_harmless() {
    let result = text("Ticket_ID, name \n007,\"=a, \"\"b\"\"\"\n", CSV);
    let row = "007,\"=a, \"\"b\"\"\",7,1,failed,refused,\"'=1+1 \"\"no\"\"\",422,1";
    assert_eq!(result, format!("Ticket_ID, name ,{OURS}\n{row}\n"));
}

#[test]
fn our_columns_of_an_earlier_file_are_replaced() {
    let once = text("ticket_id,name\n1,a\n", CSV);
    assert_eq!(text(&once, CSV), once);
    let once = text("{\"ticket_id\":1,\"name\":\"a\"}\n", JSONL);
    assert_eq!(text(&once, JSONL), once);
}

#[test]
fn a_short_row_is_filled_up_and_a_long_ones_surplus_is_told() {
    let result = text("ticket_id,name,phone\n1\n1,a,2,=b,\"c\nd\"\n", CSV);
    let lines: Vec<&str> = result.lines().collect();
    assert!(lines[1].starts_with("1,,,7,1,failed,"), "{result}");
    assert!(
        lines[2].starts_with("1,a,2,7,2,failed,") && lines[2].contains("surplus cells: =b | c d"),
        "{result}"
    );
}

#[test]
fn byte_order_mark_and_delimiter_are_the_inputs() {
    let layout = Layout { delimiter: b';', bom: true, ..CSV };
    let result = text("ticket_id;name\n1;\"a;b\"\n", layout);
    assert!(result.starts_with("\u{feff}ticket_id;name;_deskload_run;"), "{result}");
    assert!(result.contains("\n1;\"a;b\";7;1;"), "{result}");
    assert!(text("{}", Layout { bom: true, ..JSONL }).starts_with("\u{feff}{\"_deskload_run\":7,"));
}

#[test]
fn bytes_that_are_not_utf8_come_back_as_they_were() {
    let result = written(b"ticket_id,name,x\xFF\n1,\xE9\xE9,\x00\n", CSV, &ADDED);
    assert!(result.starts_with(b"ticket_id,name,x\xFF,_deskload_run"));
    assert!(result.windows(8).any(|part| part == b"\n1,\xE9\xE9,\x00,"));
}

#[test]
fn a_json_object_keeps_its_keys_and_values_to_the_letter() {
    let line = r#"{ "ticket_id" : 12345678901234567890.10, "Name":"\u0041", "name": [1,  2] }"#;
    let status = Added { http_status: None, ..ADDED };
    let result = String::from_utf8(written(line.as_bytes(), JSONL, &status)).unwrap();
    let kept = r#"{"ticket_id":12345678901234567890.10,"Name":"\u0041","name":[1,  2],"_deskload_run":7,"#;
    assert!(result.starts_with(kept), "{result}");
    assert!(
        result.contains(r#""_deskload_message":"=1+1 \"no\"","_deskload_http_status":null,"#),
        "{result}"
    );
}

#[test]
fn a_line_that_does_not_parse_keeps_its_text_however_often_it_comes_back() {
    for line in ["{\"ticket_id\":1,", "[1]", "nonsense \"x\""] {
        let once = text(line, JSONL);
        let kept = format!("{{\"_deskload_text\":{},", serde_json::to_string(line).unwrap());
        assert!(once.starts_with(&kept), "{once}");
        assert_eq!(text(&once, JSONL), once);
        assert!(mapped(once.as_bytes(), JSONL)[0].as_ref().unwrap_err().contains("no ticket_id"));
    }
}

#[test]
fn a_row_of_another_format_is_refused_and_not_written() {
    let file = file(b"{}");
    let mut record = Record::new();
    assert!(Records::open(file.path(), &JSONL).unwrap().next(&mut record).unwrap());
    let mut result = ResultFile::create(Vec::new(), &CSV, None).unwrap();
    assert!(result.write(&record, &ADDED).is_err());
}

/// Cells as people have them, and as nobody should.
fn cell() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z =;|]{0,8}", "[\"',;\t\r\n\\\\{}\u{feff} a]{0,8}", any::<String>()]
}

/// Every row maps to what it mapped to before, and knows where it came from.
fn assert_same(before: Vec<Result<Mapped, String>>, after: Vec<Result<Mapped, String>>) {
    assert_eq!(before.len(), after.len());
    for (row, (before, after)) in (1..).zip(before.into_iter().zip(after)) {
        assert_eq!(before.is_ok(), after.is_ok(), "{before:?} {after:?}");
        if let (Ok(before), Ok(after)) = (before, after) {
            assert_eq!(before.update, after.update);
            assert_eq!(after.origin, Some(Origin { run: 7, row }));
        }
    }
}

proptest! {
    #[test]
    fn a_csv_result_file_read_back_asks_for_the_same(
        rows in proptest::collection::vec((1..9u32, cell(), cell(), cell()), 0..6),
        delimiter in proptest::sample::select(b",;\t|".to_vec()),
        bom: bool,
        message: String,
    ) {
        let layout = Layout { delimiter, bom, ..CSV };
        let mut input = ::csv::WriterBuilder::new().delimiter(delimiter).from_writer(Vec::new());
        input.write_record(["name", "ticket_id", "subject", "custom_fields.x,\"y\""]).unwrap();
        for (ticket, name, subject, custom) in &rows {
            input.write_record([name, &ticket.to_string(), subject, custom]).unwrap();
        }
        let input = input.into_inner().unwrap();
        let result = written(&input, layout, &Added { message: &message, ..ADDED });
        prop_assert_eq!(mapped(&input, layout).len(), rows.len());
        assert_same(mapped(&input, layout), mapped(&result, layout));
    }

    #[test]
    fn a_jsonl_result_file_read_back_asks_for_the_same(
        rows in proptest::collection::vec((1..9u32, cell(), cell(), cell()), 0..6),
        bom: bool,
        message: String,
    ) {
        let layout = Layout { bom, ..JSONL };
        let json = |text: &str| serde_json::to_string(text).unwrap();
        let lines = rows.iter().map(|(ticket, name, key, value)| format!(
            "{{{}:1,\"ticket_id\":{ticket},\"name\":{},\"custom_fields\":[{{\"id\":\"x\",\"value\":{}}}]}}\n",
            json(&format!("?{key}")), json(name), json(value),
        ));
        let input: String = lines.collect();
        let result = written(input.as_bytes(), layout, &Added { message: &message, ..ADDED });
        prop_assert_eq!(mapped(input.as_bytes(), layout).len(), rows.len());
        assert_same(mapped(input.as_bytes(), layout), mapped(&result, layout));
    }

    #[test]
    fn no_input_at_all_makes_the_readers_panic(content: Vec<u8>, quotes in "[\"a,\n\r{}:1]{0,40}") {
        for bytes in [&content[..], quotes.as_bytes()] {
            let file = file(bytes);
            for layout in [CSV, JSONL] {
                let Ok(mut records) = Records::open(file.path(), &layout) else { continue };
                let mut result = ResultFile::create(Vec::new(), &layout, records.header()).unwrap();
                let mapping = Mapping::resolve(&MappingSpec::default(), None).unwrap();
                let mut record = Record::new();
                while matches!(records.next(&mut record), Ok(true)) {
                    let _ = mapping.update(&record);
                    result.write(&record, &ADDED).unwrap();
                }
            }
        }
    }
}
