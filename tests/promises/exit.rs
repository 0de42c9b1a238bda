//! Each exit code by its constant; 7 has its tests with the guards.

use deskload::error::{
    EXIT_ATTENTION, EXIT_CREDENTIALS, EXIT_DONE, EXIT_EARLY, EXIT_HANGUP, EXIT_INPUT, EXIT_INTERRUPT,
    EXIT_MACHINE, EXIT_OVERLAP, EXIT_TERMINATE, EXIT_TOO_MANY_FAILURES, EXIT_USAGE,
};
use deskload::sandbox::{Fate, Reply, When};

use crate::support::{Bench, closing_time};

#[test]
fn the_numbers_are_those_of_the_contract() {
    let numbers = [
        EXIT_DONE,
        EXIT_MACHINE,
        EXIT_USAGE,
        EXIT_ATTENTION,
        EXIT_CREDENTIALS,
        EXIT_EARLY,
        EXIT_INPUT,
        EXIT_TOO_MANY_FAILURES,
        EXIT_OVERLAP,
        EXIT_HANGUP,
        EXIT_INTERRUPT,
        EXIT_TERMINATE,
    ];
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 8, 11, 129, 130, 143]);
}

#[test]
fn too_many_failures_stop_a_run_that_can_go_on() {
    let bench = Bench::scripted([Fate::new(When::From(11), Reply::status(404)).times(5)]);
    bench.rows(1..=60);
    let args = ["run", "rows.csv", "--concurrency", "1", "--max-failures"];
    let stopped = bench.run(&[&args[..], &["2"]].concat()).code(EXIT_TOO_MANY_FAILURES);
    stopped.says("--max-failures 2 rows allows");
    assert_eq!(bench.counts(1), [10, 3, 0, 0, 0, 47]);
    bench.run(&[&args[..], &["50%"]].concat()).code(EXIT_ATTENTION);
    assert_eq!(bench.counts(1), [55, 5, 0, 0, 0, 0]);
}

#[test]
fn a_share_of_failures_counts_after_forty_rows() {
    let bench = Bench::scripted([Fate::new(When::Always, Reply::status(404)).times(Fate::FOREVER)]);
    bench.rows(1..=100);
    bench.run(&["run", "rows.csv", "--concurrency", "1"]).code(EXIT_TOO_MANY_FAILURES);
    assert_eq!(bench.counts(1), [0, 40, 0, 0, 0, 60]);
}

#[test]
fn an_input_of_mostly_bad_rows_is_not_sent() {
    let bench = Bench::new();
    let rows: Vec<_> =
        (1..=50).map(|row| format!("{row},{}", if row % 3 == 0 { "urgent" } else { "high" })).collect();
    bench.file("rows.csv", format!("ticket_id,priority\n{}\n", rows.join("\n")));
    let stopped = bench.run(&["run", "rows.csv"]).code(EXIT_TOO_MANY_FAILURES).says("nothing was sent");
    stopped.says("failures.csv").says("to go on: deskload run rows.csv");
    assert_eq!(bench.desk().requests, 0);
    assert_eq!(bench.counts(1), [0, 0, 16, 0, 0, 34]);
    assert_eq!(bench.summary(1)["exit_code"], EXIT_TOO_MANY_FAILURES);
    assert_eq!(bench.read("deskload-reports/run-1/failures.csv").lines().count(), 17, "the rows can be seen");
    // Whoever has looked gives the same command again.
    bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION);
    assert_eq!(bench.counts(1), [34, 0, 16, 0, 0, 0]);
    assert_eq!(bench.desk().requests, 34);
}

#[test]
fn the_gravest_end_is_told() {
    // Early before attention: a failed row, then a desk that closes.
    let bench = Bench::scripted([Fate::new(When::Request(1), Reply::status(404)), closing_time(2)]);
    bench.rows(1..=3);
    bench.run(&["run", "rows.csv", "--concurrency", "1", "--max-wait", "990ms"]).code(EXIT_EARLY);
    assert_eq!(bench.summary(1)["exit_code"], EXIT_EARLY);
    bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION);
    assert_eq!(bench.summary(1)["exit_code"], EXIT_ATTENTION);
}

#[test]
fn an_empty_input_is_done() {
    let bench = Bench::new();
    bench.file("rows.csv", "ticket_id,staff\n");
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    assert_eq!(bench.counts(1), [0; 6]);
    bench.file("rows.jsonl", "");
    bench.run(&["run", "rows.jsonl"]).code(EXIT_DONE);
    assert_eq!(bench.counts(2), [0; 6]);
    assert_eq!(bench.desk().requests, 0);
}

#[test]
fn a_place_that_cannot_be_written_is_said_before_anything_is_sent() {
    let bench = Bench::new();
    bench.rows(1..=3);
    bench.file("wall", "");
    bench.run(&["run", "rows.csv", "--journal", "wall/journal"]).code(EXIT_USAGE).says("--journal");
    bench.run(&["run", "rows.csv", "--report-dir", "wall"]).code(EXIT_USAGE).says("--report-dir");
    assert!(!bench.journal().exists(), "nor is anything journaled");
    assert_eq!(bench.desk().requests, 0);
}
