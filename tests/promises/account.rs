//! One process for one account, with the journal that the account knows.

use std::fs;

use deskload::error::{EXIT_DONE, EXIT_INPUT, EXIT_INTERRUPT, EXIT_MACHINE, EXIT_OVERLAP, EXIT_USAGE};
use deskload::sandbox::{Fate, Reply, When};
use rustix::process::Signal;

use crate::support::Bench;

#[test]
fn f21_second_process_for_the_account() {
    let bench = Bench::scripted([Fate::new(When::Request(1), Reply::silence())]);
    bench.rows(1..=3);
    bench.file("other.csv", "ticket_id,subject\n9,other\n");
    let mut first = bench.start(&["run", "rows.csv", "--concurrency", "1", "--timeout", "10m", "-vv"]);
    bench.await_requests(&mut first, 1);
    let second = |args: &[&str]| bench.run(args).code(EXIT_OVERLAP).says("another deskload (process ");
    second(&["run", "rows.csv"]);
    second(&["run", "other.csv", "--journal", "other.sqlite3"]);
    second(&["run", "other.csv", "--account-email", "OPS@Example.COM"]);
    second(&["resume", "1"]);
    assert_eq!(bench.desk().requests, 1);
    bench.run(&["run", "other.csv", "--account-email", "two@example.com"]).code(EXIT_DONE);
    bench.run(&["status", "1"]).code(EXIT_DONE);
    first.signal(Signal::INT);
    first.await_stderr("stopping");
    first.signal(Signal::INT);
    first.finish().code(EXIT_INTERRUPT);
    bench.run(&["run", "other.csv"]).code(EXIT_DONE);
}

#[test]
fn a_second_process_may_not_settle_doubts_meanwhile() {
    let bench = Bench::scripted([
        Fate::new(When::Request(1), Reply::status(500)),
        Fate::new(When::Request(2), Reply::silence()),
    ]);
    bench.rows(1..=3);
    let mut first = bench.start(&["run", "rows.csv", "--concurrency", "1", "--timeout", "10m"]);
    bench.await_requests(&mut first, 2);
    bench.run(&["resolve", "1", "--applied"]).code(EXIT_OVERLAP);
}

#[test]
fn f23_journal_deleted() {
    let bench = Bench::new();
    bench.rows(1..=3);
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    fs::remove_file(bench.journal()).unwrap();
    bench.run(&["run", "rows.csv"]).code(EXIT_MACHINE).says("--accept-journal");
    assert_eq!(bench.desk().requests, 3, "nothing was sent");
    // Another folder for reports, because the old one belongs to the old journal.
    bench.run(&["run", "rows.csv", "--accept-journal", "--report-dir", "new"]).code(EXIT_DONE);
    assert_eq!(bench.desk().requests, 6);
    bench.run(&["run", "rows.csv", "--report-dir", "new"]).code(EXIT_DONE).says("nothing left to do");
}

#[test]
fn f23_older_copy_of_the_journal() {
    let bench = Bench::new();
    bench.rows(1..=3);
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    fs::copy(bench.journal(), bench.path("copy")).unwrap();
    bench.file("more.csv", "ticket_id,subject\n9,more\n");
    bench.run(&["run", "more.csv"]).code(EXIT_DONE);
    fs::copy(bench.path("copy"), bench.journal()).unwrap();
    for command in ["rows.csv", "more.csv"] {
        bench.run(&["run", command]).code(EXIT_MACHINE).says("older copy").says("--accept-journal");
    }
    assert_eq!(bench.desk().requests, 4, "more.csv was not sent again");
    bench.run(&["run", "rows.csv", "--accept-journal"]).code(EXIT_DONE).says("nothing left to do");
}

#[test]
fn a_run_that_was_refused_before_its_first_request_is_not_begun() {
    let bench = Bench::new();
    bench.rows(1..=3);
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    bench.file("other.csv", "ticket_id,subject\n9,other\n");
    let other = ["--account-email", "two@example.com", "--journal", "other.sqlite3"];
    bench.run(&[&["run", "other.csv"], &other[..]].concat()).code(EXIT_USAGE).says("another journal");
    assert_eq!(bench.desk().requests, 3);
    let status = bench.run(&["status", "--journal", "other.sqlite3"]).code(EXIT_DONE);
    assert!(status.stdout.contains("not begun, nothing was sent: deskload resume 1"), "{}", status.stdout);
    let list = bench.run(&["runs", "--journal", "other.sqlite3"]).code(EXIT_DONE);
    assert!(list.stdout.contains("not begun"), "{}", list.stdout);
    bench.run(&[&["run", "other.csv", "--report-dir", "new"], &other[..]].concat()).code(EXIT_DONE);
    assert_eq!(bench.desk().requests, 4);
}

#[test]
fn a_journal_with_which_nothing_was_sent_is_no_hindrance_to_another() {
    let bench = Bench::new();
    bench.rows(1..=3);
    bench.file("spoiled.csv", "ticket_id,subject\n1,\"a\n");
    bench.run(&["run", "spoiled.csv"]).code(EXIT_INPUT);
    bench.run(&["run", "rows.csv", "--journal", "other.sqlite3"]).code(EXIT_DONE);
    bench.run(&["run", "rows.csv"]).code(EXIT_MACHINE).says("--accept-journal");
}
