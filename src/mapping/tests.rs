//! What the mapping promises: what is refused, where, and in which words.

use std::io::Write as _;

use super::*;
use crate::input::{Layout, Records};
use crate::ticket::{Changes, CustomField, CustomValue, Priority};

const CSV: Layout = Layout { format: crate::input::Format::Csv, delimiter: b',', bom: false };
const JSONL: Layout = Layout { format: crate::input::Format::Jsonl, delimiter: b',', bom: false };

fn spec(map: &[&str], set: &[&str], ignore: &[&str]) -> MappingSpec {
    let mut spec = MappingSpec::default();
    for typed in map {
        spec.add_map(typed).unwrap();
    }
    for typed in set {
        spec.add_set(typed).unwrap();
    }
    for typed in ignore {
        spec.add_ignore(typed);
    }
    spec
}

/// Each row's update or complaint; a trouble with the input ends it.
fn rows(content: &[u8], layout: Layout, spec: &MappingSpec) -> Result<Vec<Result<Mapped, String>>, Error> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    let mut records = Records::open(file.path(), &layout)?;
    let mapping = Mapping::resolve(spec, records.header())?;
    let (mut all, mut record) = (Vec::new(), Record::new());
    while records.next(&mut record)? {
        all.push(match mapping.update(&record) {
            Ok(mapped) => Ok(mapped),
            Err(Complaint::Row(trouble)) => Err(trouble.to_string()),
            Err(Complaint::Input(error)) => return Err(error),
        });
    }
    Ok(all)
}

fn csv_changes(text: &str, spec: &MappingSpec) -> Changes {
    one(text.as_bytes(), CSV, spec).unwrap().update.changes().clone()
}

fn one(content: &[u8], layout: Layout, spec: &MappingSpec) -> Result<Mapped, String> {
    rows(content, layout, spec).unwrap().pop().unwrap()
}

fn json(text: &str) -> Result<Mapped, String> {
    one(text.as_bytes(), JSONL, &MappingSpec::default())
}

/// The complaint about a header, and that it is the input that cannot be used.
fn header(text: &str, spec: &MappingSpec) -> String {
    match rows(text.as_bytes(), CSV, spec).unwrap_err() {
        Error::Input(message) => message,
        other => panic!("{other:?}"),
    }
}

fn assert_says(message: &str, start: &str, parts: &[&str]) {
    assert!(message.starts_with(start), "{message}");
    for part in parts {
        assert!(message.contains(part), "{part:?} in {message}");
    }
}

#[test]
fn column_names_match_without_regard_to_case_and_outer_blanks() {
    let text = " Ticket_ID , PRIORITY,Custom_Fields.cF007-07 \n007, High ,x\n";
    let mapped = one(text.as_bytes(), CSV, &MappingSpec::default()).unwrap();
    assert_eq!(mapped.update.ticket().get(), 7);
    assert_eq!(mapped.update.changes().priority, Some(Priority::High));
    let field = CustomField { id: "cF007-07".to_owned(), value: CustomValue::Text("x".to_owned()) };
    assert_eq!(mapped.update.changes().custom_fields, [field]);
}

#[test]
fn text_is_kept_as_it_is_and_ids_are_trimmed_and_blanks_leave_alone() {
    let text = "ticket_id,email,name,phone,subject,description,staff,inbox\n\
                1, a@b.c , Ann ,  ,\"\", line ,\u{a0}ST1 , IB1\n";
    let changes = csv_changes(text, &MappingSpec::default());
    assert_eq!(changes.email.as_deref(), Some("a@b.c"));
    assert_eq!(changes.name.as_deref(), Some(" Ann "));
    assert_eq!((changes.phone, changes.subject), (None, None));
    assert_eq!(changes.description.as_deref(), Some(" line "));
    assert_eq!((changes.staff.as_deref(), changes.inbox.as_deref()), (Some("ST1"), Some("IB1")));
}

#[test]
fn an_unknown_column_names_the_closest_field_and_the_ways_out() {
    let none = MappingSpec::default();
    let message = header("ticket_id,email,Priorty\n", &none);
    let ways = ["did you mean priority?", "--map priority=Priorty", "--ignore Priorty", "--ignore-unknown"];
    assert_says(&message, "line 1, column 3: ", &ways);
    assert_says(
        &header("\nticket_id,zzz zzz\n", &none),
        "line 2, column 2: ",
        &["custom_fields.ID", "'zzz zzz'"],
    );
    assert_says(&header("ticket_id,email,\n", &none), "line 1, column 3: ", &["has no name"]);
    assert_says(&header("1001,high\n1002,low\n", &none), "line 1: this looks like a row", &[]);
    assert_says(&header("ticket_id,custom_fields.\n", &none), "line 1, column 2: ", &["custom_fields"]);
    let unknown = MappingSpec { ignore_unknown: true, ..MappingSpec::default() };
    assert_eq!(csv_changes("ticket_id,zzz,name,\n1,x,Ann,\n", &unknown).name.as_deref(), Some("Ann"));
    let ignored = spec(&[], &[], &[" ZZZ"]);
    assert_eq!(csv_changes("ticket_id,zzz,name\n1,x,Ann\n", &ignored).name.as_deref(), Some("Ann"));
}

#[test]
fn what_the_endpoint_does_not_offer_is_said() {
    for name in ["Status", "tags", "comment", "reply", "note", "close"] {
        let message = header(&format!("ticket_id,{name}\n"), &MappingSpec::default());
        assert_says(
            &message,
            "line 1, column 2",
            &["closing, tagging and replying are not offered", "--ignore"],
        );
    }
}

#[test]
fn a_header_with_another_delimiter_is_recognised() {
    for (text, typed) in [("ticket_id;priority\n", "';'"), ("ticket_id\tpriority\n", "tab")] {
        let message = header(text, &MappingSpec::default());
        assert_says(&message, "line 1: the header is a single cell", &[&format!("--delimiter {typed}")]);
    }
}

#[test]
fn a_column_can_be_mapped_and_a_mapped_one_must_be_there() {
    let mapped = spec(&["ticket_id=Nr", "name= Full Name"], &[], &[]);
    assert_eq!(csv_changes("nr,FULL NAME\n1,Ann\n", &mapped).name.as_deref(), Some("Ann"));
    let message = header("nr,full nam\n1,Ann\n", &mapped);
    assert_says(
        &message,
        "line 1: there is no column \"full name\"",
        &["did you mean --map name='full nam'?"],
    );
}

#[test]
fn a_field_comes_from_one_place() {
    let none = MappingSpec::default();
    let twice = header("ticket_id,name,NAME\n", &none);
    assert_says(&twice, "line 1, column 3: ", &["same field as column 2"]);
    let twice = header("ticket_id,custom_fields.a,custom_fields.A\n", &none);
    assert_says(&twice, "line 1, column 3: ", &["same field"]);
    let set = spec(&[], &["name=Ann"], &[]);
    assert_says(&header("ticket_id,name\n", &set), "line 1, column 2: ", &["--set", "leave one out"]);
    let row = one(b"{\"ticket_id\":1,\"name\":\"x\"}", JSONL, &set).unwrap_err();
    assert_says(&row, "line 1, key \"name\": ", &["--set"]);
    for (map, ignore) in [(&["name=x", "subject=X"][..], &[][..]), (&["name=x"], &["x"])] {
        let contradiction = Mapping::resolve(&spec(map, &[], ignore), None);
        assert!(matches!(contradiction, Err(Error::Usage(_))));
    }
    assert!(header("priority,name\n", &none).contains("--map ticket_id=COLUMN"));
}

#[test]
fn what_is_set_is_in_every_row() {
    let set = spec(&[], &["Priority= LOW", "subject= x ", "custom_fields.A=1"], &[]);
    let changes = csv_changes("ticket_id\n1\n", &set);
    assert_eq!((changes.priority, changes.subject.as_deref()), (Some(Priority::Low), Some(" x ")));
    assert_eq!(changes.custom_fields.len(), 1);
    assert!(one(b"{\"ticket_id\":1}", JSONL, &set).is_ok());
    let list = one(b"ticket_id,custom_fields\n1,\"[{\"\"id\"\":\"\"a\"\",\"\"value\"\":1}]\"\n", CSV, &set);
    assert_says(&list.unwrap_err(), "line 2: the custom field a is given twice", &[]);
}

#[test]
fn what_is_typed_wrong_is_refused_before_any_input() {
    for (typed, hint) in [
        ("priority=urgent", "high, normal or low"),
        ("ticket_id=1", "comes from a column"),
        ("Priorty=low", "did you mean priority?"),
        ("zzzz=low", "the fields are ticket_id, email"),
        ("name", "FIELD=VALUE"),
        ("name= ", "blank"),
        ("custom_fields=[]", "blank"),
        ("custom_fields={", "JSON array"),
    ] {
        assert!(parse_set(typed).unwrap_err().contains(hint), "{typed}: {:?}", parse_set(typed));
    }
    for (typed, hint) in
        [("emial=x", "did you mean email?"), ("email=", "no column"), ("email", "FIELD=COLUMN")]
    {
        assert!(parse_map(typed).unwrap_err().contains(hint), "{typed}");
    }
    assert_eq!(parse_set("name=a=b").unwrap().1, "a=b");
    let mut spec = spec(&["custom_fields.a=x"], &[], &[]);
    assert!(spec.add_map("custom_fields.A=y").unwrap_err().contains("twice"));
    spec.set.insert(Target::Ticket, "1".to_owned());
    assert!(matches!(Mapping::resolve(&spec, None), Err(Error::Usage(_))));
}

#[test]
fn a_mapping_is_kept_to_the_letter_and_its_differences_are_told() {
    let one = spec(&["name=Full Name"], &["priority=low"], &["x"]);
    let kept: MappingSpec = serde_json::from_str(&serde_json::to_string(&one).unwrap()).unwrap();
    assert_eq!(kept, one);
    assert_eq!(one, spec(&["NAME= full name "], &["priority=low"], &["X "]));
    assert!(one.differences(&kept).is_empty());
    let mut other = spec(&["name=nick", "staff=who"], &[], &["y"]);
    other.ignore_unknown = true;
    let told = other.differences(&one).join("\n");
    assert_says(
        &told,
        "--map name=nick was name=full name",
        &[
            "--map staff=who was not given",
            "--set priority=low was given",
            "--ignore y",
            "--ignore-unknown was not",
        ],
    );
    assert_eq!(told.lines().count(), 6);
}

#[test]
fn each_trouble_with_a_cell_names_line_and_column() {
    let long = "9".repeat(500);
    for (row, place, hint) in [
        (&b"1"[..], "line 2: ", "too few cells, 1 cell where the header has 3"),
        (b"1,a,b,c", "line 2: ", "too many cells, 4 cells where the header has 3"),
        (b"1,low,\xE9", "line 2, column 3 (custom_fields): ", "UTF-8"),
        (b"1,low,\0", "line 2, column 3 (custom_fields): ", "NUL"),
        (b",low,", "line 2, column 1 (Ticket_ID): ", "blank"),
        (b"#7,low,", "line 2, column 1 (Ticket_ID): ", "leave out the #"),
        (long.as_bytes(), "line 2: ", "too few"),
        (b"1,urgent,", "line 2, column 2 (priority): ", "high, normal or low"),
        ("1,lo\u{200b}w,".as_bytes(), "line 2, column 2 (priority): ", "cannot be seen"),
        (b"1,,{}", "line 2, column 3 (custom_fields): ", "JSON array"),
        (b"1,, ", "line 2: ", "changes nothing"),
    ] {
        let text = [b"Ticket_ID,priority,custom_fields\n", row].concat();
        let message = one(&text, CSV, &MappingSpec::default()).unwrap_err();
        assert_says(&message, place, &[hint]);
    }
    let message =
        one(format!("ticket_id,name\n{long}x,a\n").as_bytes(), CSV, &MappingSpec::default()).unwrap_err();
    assert!(message.chars().count() < 200, "{message}");
}

#[test]
fn custom_fields_are_a_list_of_id_and_value() {
    for list in [
        r#"[{"id":"A","value":"x"},{"id":"B","value":12345678901234567890123},{"id":"C","value":null}]"#,
        r#" [ {"value": "x", "id": " A "}, {"id":"C","value":" "}, {"id":"B","value":12345678901234567890123} ] "#,
    ] {
        let quoted = serde_json::to_string(list).unwrap();
        let cell = list.replace('"', "\"\"");
        for mapped in [
            json(&format!("{{\"ticket_id\":1,\"custom_fields\":{list}}}")),
            json(&format!("{{\"ticket_id\":1,\"custom_fields\":{quoted}}}")),
            one(format!("ticket_id,custom_fields\n1,\"{cell}\"\n").as_bytes(), CSV, &MappingSpec::default()),
        ] {
            let changes = mapped.unwrap().update.changes().clone();
            let [a, b] = &changes.custom_fields[..] else { panic!("{changes:?}") };
            assert_eq!((a.id.as_str(), &a.value), ("A", &CustomValue::Text("x".to_owned())));
            assert!(matches!(&b.value, CustomValue::Json(json) if json.get() == "12345678901234567890123"));
        }
    }
    for wrong in [
        r#""x""#,
        "7",
        "true",
        r#"{"id":"A","value":1}"#,
        "[1]",
        r#"[{"id":"A"}]"#,
        r#"[["A","x"]]"#,
        r#"[{"id":"B","value":1}, ["A","x"]]"#,
        r#"[{"id":7,"value":1}]"#,
        r#"[{"id":"A","value":1,"value":2}]"#,
        r#"[{"id":"A","value":1,"more":2}]"#,
        r#"[{"id":" ","value":1}]"#,
    ] {
        let message = json(&format!("{{\"ticket_id\":1,\"custom_fields\":{wrong}}}")).unwrap_err();
        assert_says(&message, "line 1, key \"custom_fields\": ", &["custom field"]);
    }
    let twice = json(r#"{"ticket_id":1,"custom_fields":[{"id":"a","value":1}],"custom_fields.A":2}"#);
    assert_says(&twice.unwrap_err(), "line 1: the custom field a is given twice", &[]);
}

#[test]
fn json_values_are_taken_to_the_letter_or_refused() {
    assert!(json(r#"{"ticket_id":1,"name":"x""#).unwrap_err().contains("ends too early"));
    let row = r#"{"TICKET_ID":"007","phone":12345678901234567890,"name":"A\u0041","email":null,"custom_fields.Z":[1.50]}"#;
    let update = json(row).unwrap().update;
    assert_eq!((update.ticket().get(), update.changes().phone.as_deref()), (7, Some("12345678901234567890")));
    assert_eq!((update.changes().name.as_deref(), &update.changes().email), (Some("AA"), &None));
    let CustomValue::Json(raw) = &update.changes().custom_fields[0].value else { panic!() };
    assert_eq!(raw.get(), "[1.50]");
    for (row, place, hint) in [
        (r#"{"ticket_id":1,"name":true}"#, "line 1, key \"name\": ", "true or false"),
        (r#"{"ticket_id":1,"name":["x"]}"#, "line 1, key \"name\": ", "a list"),
        (r#"{"ticket_id":1,"name":{}}"#, "line 1, key \"name\": ", "an object"),
        (r#"{"ticket_id":1,"name":"\ud800"}"#, "line 1, key \"name\": ", "Unicode pair"),
        (r#"{"ticket_id":1,"name":"\u0000"}"#, "line 1, key \"name\": ", "NUL"),
        (r#"{"ticket_id":1001.0,"name":"x"}"#, "line 1, key \"ticket_id\": ", "format the column as text"),
        (r#"{"ticket_id":[1],"name":"x"}"#, "line 1, key \"ticket_id\": ", "a list"),
        (r#"{"ticket_id":-1,"name":"x"}"#, "line 1, key \"ticket_id\": ", "digits alone"),
        (r#"{"ticket_id":1,"priority":1}"#, "line 1, key \"priority\": ", "high, normal or low"),
        (r#"{"ticket_id":1,"name":"a","name":"b"}"#, "line 1, key \"name\": ", "twice"),
        (r#"{"ticket_id":1,"name":"a","Name":null}"#, "line 1, key \"Name\": ", "under different names"),
        (r#"{"ticket_id":null,"name":"a"}"#, "line 1: ", "no ticket_id"),
        (r#"{"name":"a"}"#, "line 1: ", "no ticket_id"),
        (r#"{"ticket_id":1,"name":" "}"#, "line 1: ", "changes nothing"),
        (r#"{"ticket_id":1,"name":}"#, "line 1: ", "not valid JSON at byte 23"),
        (r#"{"ticket_id":1} {}"#, "line 1: ", "not valid JSON"),
        (r#"[{"ticket_id":1}]"#, "line 1: ", "not a JSON object"),
    ] {
        assert_says(&json(row).unwrap_err(), place, &[hint]);
    }
    let latin = one(b"{\"ticket_id\":1,\"name\":\"\xE9\"}", JSONL, &MappingSpec::default()).unwrap_err();
    assert_says(&latin, "line 1: ", &["not UTF-8 from byte 24"]);
}

#[test]
fn jsonl_keys_can_be_mapped_and_ignored() {
    let spec = spec(&["ticket_id=Nr"], &[], &["x"]);
    assert!(one(br#"{"nr":1,"name":"a","X":[{}]}"#, JSONL, &spec).is_ok());
    let error = rows(br#"{"nr":1,"status":"a"}"#, JSONL, &spec).unwrap_err();
    assert_says(&error.to_string(), "line 1, key \"status\": ", &["not offered by this endpoint"]);
}

#[test]
fn our_own_columns_tell_where_a_row_was_before() {
    let none = MappingSpec::default();
    let origin = |row: &str| {
        let text = format!("ticket_id,name,_Deskload_Run,_deskload_row,_deskload_new\n1,a,{row},x\n");
        one(text.as_bytes(), CSV, &none).map(|mapped| mapped.origin)
    };
    assert_eq!(origin("3,9"), Ok(Some(Origin { run: 3, row: 9 })));
    assert_eq!(origin(","), Ok(None));
    assert_says(&origin("3,").unwrap_err(), "line 2: ", &["take both out"]);
    assert_says(&origin("x,9").unwrap_err(), "line 2, column 3 (_Deskload_Run): ", &["leave these columns"]);
    let mapped = json(r#"{"ticket_id":1,"name":"a","_deskload_run":3,"_deskload_row":"9"}"#).unwrap();
    assert_eq!(mapped.origin, Some(Origin { run: 3, row: 9 }));
}

#[test]
fn quoted_text_is_short_and_harmless() {
    assert_eq!(short(&"é".repeat(60)), "é".repeat(60));
    assert_eq!(short(&"é".repeat(61)), format!("{}…", "é".repeat(59)));
    let message = header("ticket_id,\"\u{1b}[31m\n\u{202e}x\"\n", &MappingSpec::default());
    assert!(!message.contains(['\u{1b}', '\n', '\u{202e}']), "{message}");
}
