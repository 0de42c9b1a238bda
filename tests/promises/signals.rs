//! The first signal drains, the second leaves.

use std::time::Duration;

use deskload::error::{EXIT_ATTENTION, EXIT_DONE, EXIT_HANGUP, EXIT_INTERRUPT, EXIT_TERMINATE};
use deskload::sandbox::options::Latency;
use deskload::sandbox::{Fate, Reply, When};
use rustix::process::Signal;

use crate::support::Bench;
use crate::support::ledger::{SENDING, states};

fn drains(signal: Signal, code: u8) {
    let wait = Duration::from_millis(25);
    let bench = Bench::with(|options| options.latency = Latency { min: wait, max: wait });
    bench.rows(1..=400);
    let command = ["run", "rows.csv", "--concurrency", "4"];
    let mut program = bench.start(&command);
    bench.await_requests(&mut program, 20);
    program.signal(signal);
    let said = program.finish().code(code);
    assert_eq!(said.stderr.matches("under way; once more leaves at once").count(), 1, "{}", said.stderr);
    said.says("to go on: deskload run rows.csv --concurrency 4");
    let [applied, failed, _, in_doubt, _, pending] = bench.counts(1);
    assert_eq!((failed, in_doubt), (0, 0), "what was in flight has been finished");
    assert!(applied >= 17 && pending > 0, "{applied} applied, {pending} pending");
    assert_eq!(bench.desk().applied, applied);
    assert_eq!(bench.summary(1)["exit_code"], code);
    for ending in ["-wal", "-shm"] {
        let left = bench.path(&format!("deskload/journal.sqlite3{ending}"));
        assert!(!left.exists(), "the journal was closed clean: {}", left.display());
    }
    assert!(!states(&bench.journal()).values().any(|state| *state == SENDING), "no permit was kept");
    assert_eq!(bench.summary(1)["attempts"], bench.desk().requests, "those that were not used do not count");
    bench.run(&command).code(EXIT_DONE);
    assert_eq!(bench.counts(1), [400, 0, 0, 0, 0, 0]);
    assert_eq!((bench.judge().applied, bench.judge().applied_twice), (400, 0));
}

#[test]
fn f51_ctrl_c_once() {
    drains(Signal::INT, EXIT_INTERRUPT);
}

#[test]
fn f52_sigterm() {
    drains(Signal::TERM, EXIT_TERMINATE);
}

#[test]
fn f52_sighup() {
    drains(Signal::HUP, EXIT_HANGUP);
}

#[test]
fn f51_ctrl_c_twice() {
    // Draining would take ten minutes: whoever waits for it here is found to hang.
    let bench = Bench::scripted([Fate::new(When::Request(1), Reply::silence()).applied()]);
    bench.rows(1..=3);
    let mut program = bench.start(&["run", "rows.csv", "--concurrency", "1", "--timeout", "10m", "-vv"]);
    bench.await_requests(&mut program, 1);
    program.signal(Signal::INT);
    program.await_stderr(
        "Ctrl-C: finishing 1 request under way; once more leaves at once, those are in doubt then",
    );
    program.signal(Signal::INT);
    program
        .finish()
        .code(EXIT_INTERRUPT)
        .says("left at once: what was under way is in doubt; the same command goes on");
    bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION).says("ended with 1 row on the way: in doubt");
    assert_eq!(bench.counts(1), [2, 0, 0, 1, 0, 0]);
    assert_eq!(bench.judge().applied_twice, 0);
}

#[test]
fn a_signal_while_on_finish_is_at_work_finds_no_request_under_way() {
    let bench = Bench::new();
    bench.rows(1..=3);
    let told = "Ctrl-C: no request is under way; once more leaves at once, whether or not the reports";
    let mut program = bench.start(&["run", "rows.csv", "--on-finish", "mkfifo gate; cat gate"]);
    crate::support::until("--on-finish to begin", || bench.path("gate").exists());
    program.signal(Signal::INT);
    program.await_stderr(told);
    // Opening it waits until the other end is read.
    bench.file("gate", "");
    program.finish().code(EXIT_DONE).says(told);
    assert_eq!(bench.counts(1), [3, 0, 0, 0, 0, 0]);
}

#[test]
fn a_signal_while_the_input_is_read_leaves_no_run_behind() {
    let bench = Bench::new();
    let fifo = bench.path("rows.csv");
    bench.shell("mkfifo rows.csv", None).code(EXIT_DONE);
    let mut program = bench.start(&["run", "rows.csv"]);
    // Opening the other end waits until the program reads.
    let mut writer = std::fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    std::io::Write::write_all(&mut writer, b"ticket_id,subject\n7,a\n").unwrap();
    program.signal(Signal::TERM);
    crate::support::until("the program to leave", || program.has_ended());
    program.finish().code(EXIT_TERMINATE);
    assert_eq!(bench.desk().requests, 0);
    bench.run(&["status"]).says("no run is there");
}

#[test]
fn f53_standard_output_closed() {
    let bench = Bench::new();
    bench.rows(1..=200);
    bench.shell("\"$DESKLOAD\" run rows.csv >&- 2>&-", None).code(EXIT_DONE);
    bench.shell("\"$DESKLOAD\" run rows.csv --again 2>&1 | true", None).code(EXIT_DONE);
    assert_eq!(bench.desk().applied, 400);
}
