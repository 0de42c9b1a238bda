//! A journal of an older deskload is led to this one's tables and gone on with.

use std::fs;

use deskload::error::{EXIT_ATTENTION, EXIT_DONE};
use rusqlite::Connection;

use crate::support::Bench;

const JOURNAL: &str = include_str!("../../fixtures/journals/schema-2.sql");
const SPOOL: &str = include_str!("../../fixtures/journals/schema-2.spool");

#[test]
fn a_run_of_an_older_deskload_goes_on_where_it_stood() {
    let bench = Bench::new();
    let spools = bench.path("deskload/journal.sqlite3.spool");
    fs::create_dir_all(&spools).unwrap();
    fs::write(spools.join("run-1.spool"), SPOOL).unwrap();
    let conn = Connection::open(bench.journal()).unwrap();
    conn.execute_batch(&JOURNAL.replace("'DESK'", &format!("'{}'", bench.url()))).unwrap();
    conn.close().unwrap();
    bench.run(&["status"]).code(EXIT_DONE);
    bench.run(&["resume"]).code(EXIT_ATTENTION);
    assert_eq!(bench.counts(1), [3, 1, 1, 1, 0, 0]);
    assert_eq!(bench.desk().requests, 1, "row 6 alone was left to send");
    let report = bench.read("deskload-reports/run-1/report.html");
    assert!(report.contains("3 of 6 rows were applied; 3 need a look."), "{report}");
}
