//! Text from cells and from the desk cannot repaint a terminal, turn a line around, or become a formula.

use std::fs;

use deskload::error::{EXIT_ATTENTION, EXIT_DONE};
use deskload::sandbox::{Fate, Reply, When};
use serde_json::Value;

use crate::support::{Bench, Output, files};

/// Clears a screen, names a window, turns text around, hides, and goes back to the line's begin.
const NASTY: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}gpj\u{2066}\u{200b}\u{feff}\r\u{8}";

const FORMULA: &str = "=HYPERLINK(\"http://198.51.100.1/\")";

/// Characters that a terminal or a reader obeys instead of showing them.
fn obeyed(text: &str) -> Option<char> {
    let marks =
        ['\u{202a}'..='\u{202e}', '\u{2066}'..='\u{2069}', '\u{200b}'..='\u{200f}', '\u{feff}'..='\u{feff}'];
    text.chars()
        .find(|char| (char.is_control() && *char != '\n') || marks.iter().any(|mark| mark.contains(char)))
}

fn harmless(what: &str, text: &str) {
    assert_eq!(obeyed(text), None, "{what}: {text:?}");
}

fn harmless_json(what: &str, value: &Value) {
    match value {
        Value::String(text) => harmless(what, text),
        Value::Array(all) => all.iter().for_each(|value| harmless_json(what, value)),
        Value::Object(all) => all.iter().for_each(|(key, value)| harmless_json(key, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn streams(said: &Output) {
    harmless("standard error", &said.stderr);
    harmless("standard output", &said.stdout);
}

/// The columns that were added to a result file: none that a spreadsheet would compute. The others came back as they
/// went in.
fn added(bench: &Bench, file: &str, subject: &str) -> Vec<Vec<String>> {
    let text = bench.read(&format!("deskload-reports/run-1/{file}"));
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let ours = reader.headers().unwrap().iter().position(|name| name.starts_with("_deskload_")).unwrap();
    let rows = reader.records().map(|row| {
        let row = row.unwrap();
        assert_eq!(&row[1], subject, "the cell of the input");
        let cells: Vec<String> = row.iter().skip(ours).map(str::to_owned).collect();
        for cell in &cells {
            harmless(file, cell);
            assert!(!cell.starts_with(['=', '+', '-', '@', '|', '%', '\t', '\r']), "{file}: {cell}");
        }
        cells
    });
    rows.collect()
}

/// Four rows: applied, failed, in doubt, invalid; their cells and the desk's words are as bad as they can be.
fn nasty() -> (Bench, String) {
    let words = format!("{FORMULA}{NASTY}");
    let bench = Bench::scripted([
        Fate::new(When::Ticket(2), Reply::error(404, &words)),
        Fate::new(When::Ticket(3), Reply::error(500, &words)),
    ]);
    let subject = format!("@SUM(1)|x {NASTY}");
    let cell = subject.replace('"', "\"\"");
    let row =
        |ticket: u64, priority: &str| format!("{ticket},\"{cell}\",\"{}\"\n", priority.replace('"', "\"\""));
    let rows = [row(1, "high"), row(2, "high"), row(3, "high"), row(4, &words)].concat();
    bench.file("rows.csv", format!("ticket_id,subject,priority\n{rows}"));
    (bench, subject)
}

#[test]
fn f62_escapes_and_formulas() {
    let (bench, subject) = nasty();
    let run = ["run", "rows.csv", "-vv", "--max-failures", "9", "--log-file", "run.log"];
    let said = bench.run(&run).code(EXIT_ATTENTION).says("=HYPERLINK(").says("gpj");
    streams(&said);
    assert_eq!(bench.counts(1), [1, 1, 1, 1, 0, 0]);
    let message = |cells: &Vec<String>| cells.iter().any(|cell| cell.starts_with("'=HYPERLINK("));
    let failures = added(&bench, "failures.csv", &subject);
    assert!(failures.len() == 2 && failures.iter().any(message), "the desk's words: {failures:?}");
    let in_doubt = added(&bench, "in-doubt.csv", &subject);
    assert!(in_doubt.len() == 1, "{in_doubt:?}");
    let summary = bench.summary(1);
    harmless_json("summary.json", &summary);
    assert!(summary["reasons"].to_string().contains("HYPERLINK("), "{summary}");
    harmless("run.log", &bench.read("run.log"));
    for path in files(&bench.path("deskload-reports")) {
        if path.extension().is_some_and(|ending| ending == "html") {
            harmless("report.html", &fs::read_to_string(&path).unwrap());
        }
    }
    for command in [&["status"][..], &["status", "1"], &["report", "1"], &["resolve", "1", "--skip"]] {
        streams(&bench.run(command));
    }
}

#[test]
fn f62_escapes_and_formulas_for_a_program() {
    let (bench, _) = nasty();
    let said = bench.run(&["run", "rows.csv", "--max-failures", "9", "--json"]).code(EXIT_ATTENTION);
    streams(&said);
    for line in said.stdout.lines() {
        harmless_json("--json", &serde_json::from_str(line).unwrap());
    }
    assert!(said.stdout.contains("HYPERLINK("), "{}", said.stdout);
}

#[test]
fn f62_escapes_in_names_of_columns_and_in_what_is_typed() {
    let bench = Bench::new();
    bench.file("rows.csv", format!("ticket_id,\"subj{NASTY}\"\n1,a\n"));
    let said = bench.run(&["run", "rows.csv"]);
    assert!(said.code != Some(EXIT_DONE.into()) && said.stderr.contains("subj"), "{said:?}");
    streams(&said);
    let (said, requests) = (bench.run(&["run", "rows.csv", "--ignore-unknown"]), bench.desk().requests);
    streams(&said);
    assert_eq!(requests, 0, "a row that changes nothing is invalid");
}
