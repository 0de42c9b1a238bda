//! A journal of an older deskload is led to this one's tables and gone on with.

use std::fs;

use deskload::error::{EXIT_ATTENTION, EXIT_DONE};
use rusqlite::Connection;

use crate::support::Bench;

/// A journal as an older deskload left it, with the spool of its only run that needs one.
fn left_behind(journal: &str, spool: (&str, &str)) -> Bench {
    let bench = Bench::new();
    let spools = bench.path("deskload/journal.sqlite3.spool");
    fs::create_dir_all(&spools).unwrap();
    fs::write(spools.join(spool.0), spool.1).unwrap();
    let conn = Connection::open(bench.journal()).unwrap();
    conn.execute_batch(&journal.replace("'DESK'", &format!("'{}'", bench.url()))).unwrap();
    conn.close().unwrap();
    bench
}

#[test]
fn a_run_of_an_older_deskload_goes_on_where_it_stood() {
    let spool = include_str!("../../fixtures/journals/schema-2.spool");
    let bench = left_behind(include_str!("../../fixtures/journals/schema-2.sql"), ("run-1.spool", spool));
    bench.run(&["status"]).code(EXIT_DONE);
    bench.run(&["resume"]).code(EXIT_ATTENTION);
    assert_eq!(bench.counts(1), [3, 1, 1, 1, 0, 0]);
    assert_eq!(bench.desk().requests, 1, "row 6 alone was left to send");
    let report = bench.read("deskload-reports/run-1/report.html");
    assert!(report.contains("3 of 6 rows were applied; 3 need a look."), "{report}");
}

#[test]
fn the_last_success_of_an_older_deskload_is_known() {
    let spool = include_str!("../../fixtures/journals/schema-5.spool");
    let bench = left_behind(include_str!("../../fixtures/journals/schema-5.sql"), ("run-2.spool", spool));
    let limits = ["--rate", "50/s", "--rate-per-ticket", "30/10min"];
    let resumed = [&["resume", "--metrics-file", "desk.prom"], &limits[..]].concat();
    bench.run(&resumed).code(EXIT_ATTENTION);
    assert_eq!(bench.counts(2), [3, 0, 1, 0, 0, 0]);
    let metrics = bench.read("desk.prom");
    assert!(metrics.contains("deskload_last_success_time_seconds 1795845770.227\n"), "{metrics}");
}
