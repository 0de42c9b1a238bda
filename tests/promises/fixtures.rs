//! Each fixture runs as `fixtures/README.md` says.

use std::path::Path;

use deskload::error::{EXIT_ATTENTION, EXIT_DONE};

use crate::support::Bench;

fn fixture(name: &str, valid: u64, invalid: u64) -> Bench {
    let readme = std::fs::read_to_string(folder().join("README.md")).unwrap();
    let line = format!("| `{name}` | {} | {valid} | {invalid} |", valid + invalid);
    assert!(readme.contains(&line), "the README says: {line}");
    let bench = Bench::new();
    let path = folder().join(name);
    let code = if invalid == 0 { EXIT_DONE } else { EXIT_ATTENTION };
    bench.run(&["run", path.to_str().unwrap(), "--max-failures", "100%"]).code(code);
    assert_eq!(bench.counts(1), [valid, 0, invalid, 0, 0, 0]);
    assert_eq!((bench.judge().applied, bench.judge().applied_twice), (valid, 0));
    bench
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures"))
}

#[test]
fn the_reassignment() {
    fixture("reassignment.csv", 40, 0);
}

#[test]
fn the_nightly_import_of_every_field() {
    let bench = fixture("nightly.csv", 30, 0);
    let fields: std::collections::BTreeSet<String> = bench
        .seen()
        .iter()
        .flat_map(|seen| seen.change.as_object().unwrap().keys().cloned().collect::<Vec<_>>())
        .collect();
    let all = "custom_fields description email inbox name phone priority staff subject";
    assert_eq!(fields.into_iter().collect::<Vec<_>>().join(" "), all);
}

#[test]
fn the_migration_in_jsonl() {
    let bench = fixture("migration.jsonl", 30, 0);
    let large = bench.seen().iter().filter(|seen| seen.change.to_string().contains("90071992547")).count();
    assert_eq!(large, 3, "numbers over 2^53 keep their digits");
}

#[test]
fn the_messy_export() {
    let bench = fixture("messy-export.csv", 8, 9);
    let judge = bench.judge();
    assert_eq!(judge.order(1_001).len(), 2);
    assert!(judge.order(1_001)[0].contains("1. reset sent\\r\\n2."), "{:?}", judge.order(1_001));
    let report = bench.read("deskload-reports/run-1/failures.csv");
    assert!(report.starts_with('\u{feff}'), "the input had a byte order mark");
    let rows: Vec<&str> = ["3", "4", "5", "6", "7", "10", "11", "12", "15"].into();
    let found: Vec<String> = csv::Reader::from_reader(report.trim_start_matches('\u{feff}').as_bytes())
        .deserialize::<std::collections::HashMap<String, String>>()
        .map(|row| row.unwrap()["_deskload_row"].clone())
        .collect();
    assert_eq!(found, rows);
}

#[test]
fn the_rows_of_the_demo() {
    fixture("demo.csv", 297, 3);
}

#[test]
#[cfg(feature = "xlsx")]
fn the_workbook_as_two_programs_write_it() {
    fixture("tickets.xlsx", 4, 6);
    fixture("tickets-libreoffice.xlsx", 5, 5);
}
