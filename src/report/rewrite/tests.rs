//! Rows in the other format, and that they ask for the same there.

use std::io::Write as _;

use proptest::prelude::*;
use tempfile::NamedTempFile;

use super::*;
use crate::input::{Format, Layout, Records};
use crate::mapping::lookup::Blank;
use crate::mapping::{Complaint, Target};
use crate::report::failures::{Added, ResultFile};
use crate::ticket::TicketUpdate;

const CSV: Layout = Layout { format: Format::Csv, delimiter: b',', bom: false };
const JSONL: Layout = Layout { format: Format::Jsonl, delimiter: b',', bom: false };
const ADDED: Added<'_> = Added {
    run: 7,
    row: 1,
    outcome: "failed",
    reason: "refused",
    message: "no",
    http_status: None,
    attempts: 1,
};

fn spec() -> MappingSpec {
    MappingSpec { ignore_unknown: true, ..MappingSpec::default() }
}

fn file(content: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    file
}

/// The result file that holds every row in the other format; `None`: it cannot be.
fn rewritten(content: &[u8], layout: Layout, spec: &MappingSpec) -> Option<String> {
    let file = file(content);
    let mut records = Records::open(file.path(), &layout).unwrap();
    let mut record = Record::new();
    let (other, mut rewrite) = if let Some(header) = records.header() {
        (JSONL, Rewrite::to_lines(spec, header)?)
    } else {
        let mut keys = Keys::default();
        while records.next(&mut record).unwrap() {
            keys.note(&record).then_some(())?;
        }
        records = Records::open(file.path(), &layout).unwrap();
        (CSV, Rewrite::to_cells(spec, keys)?)
    };
    let mut out = ResultFile::create(Vec::new(), &other, rewrite.header()).unwrap();
    while records.next(&mut record).unwrap() {
        out.write(rewrite.row(&record)?, &ADDED).unwrap();
    }
    Some(String::from_utf8(out.finish().unwrap()).unwrap())
}

/// What each row asks for; `None`: it is invalid.
fn asked(content: &[u8], layout: Layout, spec: &MappingSpec) -> Vec<Option<TicketUpdate>> {
    let file = file(content);
    let mut records = Records::open(file.path(), &layout).unwrap();
    let mapping = Mapping::resolve(spec, records.header()).unwrap();
    let (mut all, mut record) = (Vec::new(), Record::new());
    while records.next(&mut record).unwrap() {
        all.push(match mapping.update(&record) {
            Ok(mapped) => Some(mapped.update),
            Err(Complaint::Row(_)) => None,
            Err(Complaint::Input(error)) => panic!("{error}"),
        });
    }
    all
}

const OURS: &str = r#""_deskload_run":7,"_deskload_row":1,"_deskload_outcome":"failed","_deskload_reason":"refused","_deskload_message":"no","_deskload_http_status":null,"_deskload_attempts":1}"#;

#[test]
fn cells_become_texts_under_their_columns_names() {
    let input = "Ticket_ID,subject,_deskload_reason,custom_fields\n007,\"a\nb\",4,\"[{\"\"id\"\":\"\"x\"\",\"\"value\"\":7}]\"\n";
    let lines = rewritten(input.as_bytes(), CSV, &spec()).unwrap();
    let row = r#"{"Ticket_ID":"007","subject":"a\nb","custom_fields":"[{\"id\":\"x\",\"value\":7}]","#;
    assert_eq!(lines, format!("{row}{OURS}\n"));
    assert_eq!(asked(lines.as_bytes(), JSONL, &spec()), asked(input.as_bytes(), CSV, &spec()));
}

#[test]
fn keys_become_columns_and_what_is_no_text_stays_json() {
    let input = concat!(
        "{\"ticket_id\":7,\"custom_fields\":[{\"id\":\"x\",\"value\":9007199254740993}]}\n",
        "{\"ticket_id\":8,\"subject\":\"a,\\n\",\"priority\":null}\n",
    );
    let csv = rewritten(input.as_bytes(), JSONL, &spec()).unwrap();
    let (header, rows) = csv.split_once('\n').unwrap();
    assert!(
        header.starts_with("ticket_id,custom_fields,subject,priority,_deskload_text,_deskload_run,"),
        "{csv}"
    );
    assert!(
        rows.starts_with("7,\"[{\"\"id\"\":\"\"x\"\",\"\"value\"\":9007199254740993}]\",,,,7,1,failed,"),
        "{csv}"
    );
    assert!(rows.contains("\n8,,\"a,\n\",,,7,1,failed,"), "{csv}");
    assert_eq!(asked(csv.as_bytes(), CSV, &spec()), asked(input.as_bytes(), JSONL, &spec()));
}

#[test]
fn an_invalid_row_is_as_invalid_in_the_other_format() {
    let lines = concat!(
        "{\"ticket_id\":7,\"subject\":{\"a\":1}}\n",
        "{\"ticket_id\":7,\"subject\":\"a\",\"subject\":\"b\"}\n",
        "{\"ticket_id\":7,\n",
        "{\"ticket_id\":7,\"subject\":\"#N/A\"}\n",
    );
    let csv = rewritten(lines.as_bytes(), JSONL, &spec()).unwrap();
    assert_eq!(asked(csv.as_bytes(), CSV, &spec()), [None, None, None, None]);
    assert!(csv.contains("\n,,\"{\"\"ticket_id\"\":7,\"\"subject\"\":{\"\"a\"\":1}}\",7,"), "{csv}");
    let cells = b"ticket_id,subject,note\n7,a\n7,a,b,c\n7,\xFF,\n,a,\n7,#REF!,\n";
    let lines = rewritten(cells, CSV, &spec()).unwrap();
    assert_eq!(asked(lines.as_bytes(), JSONL, &spec()), [None, None, None, None, None]);
    assert!(lines.contains(r#"{"_deskload_text":"7 | a | b | c","#), "{lines}");
    assert!(lines.contains(r#""subject":"\udcff""#), "{lines}");
}

#[test]
fn a_file_that_would_ask_for_something_else_is_not_written() {
    let number = "{\"ticket_id\":7,\"custom_fields.x\":5}\n";
    assert_eq!(rewritten(number.as_bytes(), JSONL, &spec()), None, "in a cell it would be a text");
    let some = "{\"ticket_id\":7,\"phone\":\"1\"}\n{\"ticket_id\":8,\"subject\":\"a\"}\n";
    assert!(rewritten(some.as_bytes(), JSONL, &spec()).is_some());
    let mut clears = spec();
    clears.blank.insert(Target::parse("phone").unwrap(), Blank::Clear);
    assert_eq!(rewritten(some.as_bytes(), JSONL, &clears), None, "ticket 8 would lose its phone number");
    let many: Vec<String> = (0..2_000).map(|n| format!("{{\"ticket_id\":7,\"note {n}\":1}}\n")).collect();
    assert_eq!(rewritten(many.concat().as_bytes(), JSONL, &spec()), None);
}

/// Cells as people have them, and as nobody should.
fn cell() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z =;|#]{0,8}", "[\"',;\t\r\n\\\\{}\u{feff} a]{0,8}", any::<String>()]
}

proptest! {
    #[test]
    fn cells_written_as_lines_ask_for_the_same(
        rows in proptest::collection::vec(("[0-9]{0,2}", cell(), cell(), cell()), 1..6),
        note in "[a-z ]{0,3}",
    ) {
        let mut input = ::csv::Writer::from_writer(Vec::new());
        input.write_record(["name", "ticket_id", "subject", "custom_fields", note.as_str()]).unwrap();
        for (ticket, name, subject, custom) in &rows {
            input.write_record([name, ticket, subject, custom, name]).unwrap();
        }
        let input = input.into_inner().unwrap();
        let lines = rewritten(&input, CSV, &spec()).expect("every CSV can be JSONL");
        prop_assert_eq!(asked(lines.as_bytes(), JSONL, &spec()), asked(&input, CSV, &spec()));
    }

    #[test]
    fn lines_written_as_cells_ask_for_the_same_or_are_not_written(
        rows in proptest::collection::vec((0..9_u32, cell(), any::<u8>(), cell()), 1..6),
    ) {
        let json = |text: &str| serde_json::to_string(text).unwrap();
        let values = ["null", "true", "7", "[1]", "\"x\"", "{}"];
        let lines = rows.iter().map(|(ticket, text, pick, key)| {
            let value = values[usize::from(*pick) % values.len()];
            format!("{{\"ticket_id\":{ticket},\"subject\":{},{}:{value},\"name\":{value}}}\n", json(text), json(key))
        });
        let input: String = lines.collect();
        if let Some(csv) = rewritten(input.as_bytes(), JSONL, &spec()) {
            prop_assert_eq!(asked(csv.as_bytes(), CSV, &spec()), asked(input.as_bytes(), JSONL, &spec()));
        }
    }
}
