//! An input that cannot be used is refused before anything is sent, and says where; a bad row harms no other.

use deskload::error::{EXIT_ATTENTION, EXIT_DONE, EXIT_INPUT, EXIT_USAGE};

use crate::support::{Bench, csv};

/// Refused, and the message has all of these.
fn refused(bench: &Bench, name: &str, text: impl AsRef<[u8]>, says: &[&str]) {
    bench.file(name, text);
    let mut refused = bench.run(&["run", name]).code(EXIT_INPUT);
    for says in says.iter().chain([&name]) {
        refused = refused.says(says);
    }
    assert_eq!(bench.desk().requests, 0, "{name}");
    bench.run(&["status"]).code(EXIT_USAGE).says("no run is there");
}

#[test]
fn a_column_that_means_nothing_is_named_with_the_closest_one() {
    let bench = Bench::new();
    refused(
        &bench,
        "a.csv",
        "ticket_id,priorty\n7,high\n",
        &["line 1, column 2", "priorty", "did you mean priority?"],
    );
    refused(&bench, "b.csv", "\n\nticket_id,staff,tags\n7,a,b\n", &["line 3, column 3", "closing, tagging"]);
    refused(
        &bench,
        "c.jsonl",
        "{\"ticket_id\":7,\"staff\":\"a\"}\n{\"ticket_id\":8,\"stff\":\"a\"}\n",
        &["line 2", "stff", "staff"],
    );
}

#[test]
fn an_input_without_ticket_id_or_without_a_header_is_refused() {
    let bench = Bench::new();
    refused(&bench, "a.csv", "id,staff\n7,a\n", &["line 1", "ticket_id"]);
    refused(&bench, "b.csv", "", &["header"]);
    refused(&bench, "c.csv", "staff\na\n", &["line 1", "--map ticket_id=COLUMN"]);
    refused(
        &bench,
        "d.csv",
        "ticket_id,staff,Staff \n7,a,b\n",
        &["line 1, column 3", "same field as column 2"],
    );
}

#[test]
fn f58_unclosed_quote() {
    let bench = Bench::new();
    let text = "ticket_id,subject\n1,a\n2,\"never closed\n3,c\n4,d\n";
    refused(&bench, "a.csv", text, &["line 3, column", "never closed"]);
    // Swallowing more than a mebibyte, it is found before the end.
    let long = format!("{text}{}", "5,some text that goes on and on\n".repeat(50_000));
    refused(&bench, "b.csv", long, &["line 3", "over 1 MiB", "quote"]);
}

#[test]
fn a_record_over_one_mebibyte_is_refused() {
    let bench = Bench::new();
    let long = "x".repeat((1 << 20) + 1);
    refused(&bench, "a.csv", format!("ticket_id,subject\n1,a\n2,{long}\n"), &["line 3", "over 1 MiB"]);
    refused(&bench, "b.jsonl", format!("{{\"ticket_id\":1,\"subject\":\"{long}\"}}\n"), &["line 1", "1 MiB"]);
}

#[test]
fn f59_rows_that_are_ragged_or_no_text() {
    let bench = Bench::new();
    bench.file(
        "rows.csv",
        b"ticket_id,staff,priority\n1,a,high\n#2,a,\n3,a\n4,a,b,c\n1e3,a,\n1005.0,a,\n6,,\n7,a,urgent\n8,\xff,\n9,a,LOW\n,a,\n",
    );
    bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION).says("9 invalid");
    assert_eq!(bench.counts(1), [2, 0, 9, 0, 0, 0]);
    let mut sent: Vec<_> = bench.seen().iter().map(|seen| seen.ticket).collect();
    sent.sort_unstable();
    assert_eq!(sent, [1, 9]);
    let report = std::fs::read(bench.path("deskload-reports/run-1/failures.csv")).unwrap();
    let report = String::from_utf8_lossy(&report);
    for part in [
        "line 3, column 1",
        "line 4: the row has too few cells",
        "line 5: the row has too many cells",
        "surplus cells: c",
        "line 6, column 1",
        "line 7, column 1",
        "line 8: the row changes nothing",
        "line 9, column 3",
        "not UTF-8",
        "the ticket id is blank",
    ] {
        assert!(report.contains(part), "{part:?} is not in:\n{report}");
    }
}

#[test]
fn strict_refuses_the_whole_input_for_one_bad_row() {
    let bench = Bench::new();
    bench.file("rows.csv", csv(1..=50) + "x,row 51\n");
    bench.run(&["run", "rows.csv", "--strict"]).code(EXIT_INPUT).says("line 52");
    assert_eq!(bench.desk().requests, 0);
    bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION);
    assert_eq!(bench.counts(1), [50, 0, 1, 0, 0, 0]);
}

#[test]
fn a_byte_order_mark_and_line_ends_of_windows_are_no_hindrance() {
    let bench = Bench::new();
    bench.file("rows.csv", "\u{feff}Ticket_ID , SUBJECT\r\n\r\n7,\"a\r\nb\"\r\n   \r\n8,c\r\n");
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    let seen = bench.seen();
    let subject = |ticket| &seen.iter().find(|seen| seen.ticket == ticket).unwrap().subject;
    assert_eq!((subject(7).as_str(), subject(8).as_str()), ("a\r\nb", "c"));
    assert_eq!(bench.counts(1), [2, 0, 0, 0, 0, 0]);
}

#[test]
fn jsonl_keeps_types_and_long_numbers_and_a_broken_line_is_one_row() {
    let bench = Bench::new();
    bench.file(
        "rows.jsonl",
        concat!(
            "\u{feff}{\"ticket_id\": 7, \"custom_fields\": [{\"id\": \"CF1\", \"value\": 9007199254740993}]}\n",
            "\n",
            "{\"ticket_id\": \"0008\", \"subject\": \"gr\\u00fc\\u00dfe\\n\", \"staff\": null}\n",
            "{\"ticket_id\": 9, \"subject\": \"broken\n",
            "{\"ticket_id\": 10, \"subject\": \"a\", \"subject\": \"b\"}\n",
            "{\"ticket_id\": 11, \"Priority\": \"High\"}",
        ),
    );
    bench.run(&["run", "rows.jsonl"]).code(EXIT_ATTENTION);
    assert_eq!(bench.counts(1), [3, 0, 2, 0, 0, 0]);
    let judge = bench.judge();
    assert_eq!(judge.order(7), [r#"{"custom_fields":[{"id":"CF1","value":9007199254740993}]}"#.into()]);
    assert_eq!(judge.order(8), [r#"{"subject":"grüße\n"}"#.into()]);
    assert_eq!(judge.order(11), [r#"{"priority":"high"}"#.into()]);
}

#[test]
fn standard_input_shows_its_format_by_its_first_byte() {
    let bench = Bench::new();
    bench.pipe("  {\"ticket_id\":7,\"subject\":\"a\"}\n", &["run", "-"]).code(EXIT_DONE);
    bench.pipe("ticket_id,subject\n8,b\n", &["run", "-"]).code(EXIT_DONE);
    bench.pipe("id,subject\n8,b\n", &["run", "-"]).code(EXIT_INPUT).says("standard input: line 1");
    assert_eq!(bench.desk().applied, 2);
}

#[test]
fn tabs_and_other_delimiters_are_read() {
    let bench = Bench::new();
    bench.file("rows.tsv", "ticket_id\tsubject\n1\ta,b\n");
    bench.run(&["run", "rows.tsv"]).code(EXIT_DONE);
    bench.file("tabs.csv", "ticket_id\tsubject\n2\ta,b\n");
    bench.run(&["run", "tabs.csv", "--format", "tsv"]).code(EXIT_DONE);
    bench.file("semicolons.csv", "ticket_id;subject\n3;a,b\n");
    bench.run(&["run", "semicolons.csv", "--delimiter", ","]).code(EXIT_INPUT).says("--delimiter ';'");
    bench.run(&["run", "semicolons.csv", "--delimiter", ";"]).code(EXIT_DONE);
    for ticket in 1..=3 {
        assert_eq!(bench.judge().order(ticket), [r#"{"subject":"a,b"}"#.into()]);
    }
    bench.run(&["run", "rows.tsv", "--delimiter", "ab"]).code(EXIT_USAGE).says("--delimiter");
}

#[test]
fn f58_unclosed_quote_at_the_end_of_a_long_file() {
    let bench = Bench::new();
    bench.file("rows.csv", csv(1..=20_000) + "20001,\"open\n");
    bench.run(&["run", "rows.csv"]).code(EXIT_INPUT).says("line 20002");
    assert_eq!(bench.desk().requests, 0);
    assert!(bench.files().iter().all(|path| !path.to_string_lossy().contains(".spool/")), "no copy is left");
}
