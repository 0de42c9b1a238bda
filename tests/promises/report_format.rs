//! `--report-format`: the same rows in another format, as good an input as before.

use deskload::error::{EXIT_ATTENTION, EXIT_DONE, EXIT_USAGE};
use deskload::sandbox::{Fate, Reply, When};
use serde_json::json;

use crate::support::Bench;

const CSV: &str = "deskload-reports/run-1/failures.csv";
const JSONL: &str = "deskload-reports/run-1/failures.jsonl";

/// The desk refuses ticket 2 once, and ticket 3 is in doubt.
fn troubled() -> Bench {
    Bench::scripted([
        Fate::new(When::Request(2), Reply::error(404, "not found")),
        Fate::new(When::Request(3), Reply::status(500)),
    ])
}

#[test]
fn failures_of_a_csv_come_as_jsonl_and_go_in_again() {
    let bench = troubled();
    bench.file("a.csv", "ticket_id;subject;custom_fields\n1;a;\n2;\"b;\nc\";\"[{\"\"id\"\":\"\"x\"\",\"\"value\"\":7}]\"\n3;d;\n#4;e;\n");
    bench
        .run(&["run", "a.csv", "--report-format", "jsonl", "--concurrency", "1"])
        .code(EXIT_ATTENTION)
        .says(JSONL);
    let failures = bench.read(JSONL);
    assert!(!bench.path(CSV).exists());
    let row = r#"{"ticket_id":"2","subject":"b;\nc","custom_fields":"[{\"id\":\"x\",\"value\":7}]","_deskload_run":1,"#;
    assert!(failures.starts_with(row), "{failures}");
    assert!(bench.read("deskload-reports/run-1/in-doubt.jsonl").starts_with("{\"ticket_id\":\"3\","));
    bench.file("b.jsonl", failures.replace("#4", "4"));
    bench.run(&["run", "b.jsonl"]).code(EXIT_DONE);
    let change = json!({ "subject": "b;\nc", "custom_fields": [{ "id": "x", "value": 7 }] });
    assert_eq!(bench.judge().order(2).len(), 1);
    assert_eq!(bench.seen().iter().rfind(|seen| seen.ticket == 2).unwrap().change, change);
    assert_eq!(bench.judge().order(4), [r#"{"subject":"e"}"#.into()]);
}

#[test]
fn failures_of_jsonl_come_as_csv_and_go_in_again() {
    let bench = troubled();
    let rows = [
        r#"{"ticket_id":1,"subject":"a"}"#,
        r#"{"ticket_id":2,"custom_fields":[{"id":"x","value":9007199254740993}],"subject":"b,ü"}"#,
        r#"{"ticket_id":3,"subject":"c"}"#,
        r#"{"ticket_id":4,"subject":["d"]}"#,
        "nonsense",
    ];
    bench.file("a.jsonl", rows.join("\n"));
    let format = ["--report-format", "csv", "--concurrency", "1"];
    bench.run(&[&["run", "a.jsonl"], &format[..]].concat()).code(EXIT_ATTENTION).says(CSV);
    let failures = bench.read(CSV);
    let mut lines = failures.lines();
    let header = lines.next().unwrap();
    assert!(
        header.starts_with("\u{feff}ticket_id,custom_fields,subject,_deskload_text,_deskload_run,"),
        "{failures}"
    );
    assert_eq!(
        lines.next().unwrap(),
        r#"2,"[{""id"":""x"",""value"":9007199254740993}]","b,ü",,1,2,failed,refused,not found,404,1"#
    );
    assert!(
        lines.next().unwrap().starts_with(r#",,,"{""ticket_id"":4,""subject"":[""d""]}",1,4,invalid,"#),
        "{failures}"
    );
    assert!(lines.next().unwrap().starts_with(",,,nonsense,1,5,invalid,"), "{failures}");
    bench.file("b.csv", &failures);
    bench.run(&["run", "b.csv", "--max-failures", "100%"]).code(EXIT_ATTENTION);
    let change = bench.seen().iter().rfind(|seen| seen.ticket == 2).unwrap().change.to_string();
    assert!(change.contains("9007199254740993"), "{change}");
    assert_eq!(bench.counts(2), [1, 0, 2, 0, 0, 0]);
    let again = bench.read("deskload-reports/run-2/failures.csv");
    assert!(again.contains(",nonsense,2,3,invalid,"), "the text stays: {again}");
}

#[test]
fn rows_that_a_csv_cannot_hold_stay_jsonl_and_that_is_said() {
    let bench = troubled();
    let row = |ticket: u64| format!("{{\"ticket_id\":{ticket},\"custom_fields.x\":7}}\n");
    bench.file("a.jsonl", (1..=3).map(row).collect::<String>());
    let output =
        bench.run(&["run", "a.jsonl", "--report-format", "csv", "--concurrency", "1"]).code(EXIT_ATTENTION);
    output
        .says("failures.jsonl cannot be csv: some of its rows would ask for something else there")
        .says(JSONL);
    assert!(bench.path(JSONL).exists() && !bench.path(CSV).exists());
}

#[test]
fn the_report_in_another_format_leaves_no_old_one_behind() {
    let bench = troubled().set("DESKLOAD_CONFIG", "config.toml");
    bench.file("config.toml", "default_profile = 'a'\n[profile.a]\nreport_format = 'jsonl'\n");
    bench.rows(1..=3);
    bench.run(&["run", "rows.csv", "--report-format", "auto", "--concurrency", "1"]).code(EXIT_ATTENTION);
    let first = bench.read(CSV);
    bench.run(&["report"]).code(EXIT_DONE).says("failures.jsonl");
    assert!(bench.path(JSONL).exists() && !bench.path(CSV).exists());
    bench.run(&["report", "--report-format", "csv"]).code(EXIT_DONE).says("failures.csv");
    assert!(bench.read(CSV) == first && !bench.path(JSONL).exists());
    bench.run(&["report", "--report-format", "xlsx"]).code(EXIT_USAGE).says("auto, csv, jsonl");
    // Once nothing needs a person any more, neither is there.
    bench.run(&["retry", "1", "--report-format", "jsonl"]).code(EXIT_ATTENTION);
    assert!(!bench.path(CSV).exists() && !bench.path(JSONL).exists());
}
