//! One call fails, or it and all that follow, at each place in turn.

use std::fs;

use deskload::error::{EXIT_ATTENTION, EXIT_DONE, EXIT_MACHINE};
use deskload::sandbox::{Fate, Reply, When};

use super::{RUN, goes_on, nothing_twice, tickets};
use crate::support::ledger::dump;
use crate::support::{Bench, Strace, Traced};

/// A fault at many places, each on a machine of its own.
struct Places<'a> {
    strace: &'a Strace,
    bench: Bench,
    call: &'a str,
    /// Such as `EIO`.
    error: &'a str,
    /// `+`: the call never works again.
    then: &'a str,
    round: u64,
    stopped: u64,
    in_doubt: u64,
}

impl<'a> Places<'a> {
    fn new(strace: &'a Strace, call: &'a str, error: &'a str, then: &'a str) -> Self {
        Self { strace, bench: Bench::new(), call, error, then, round: 0, stopped: 0, in_doubt: 0 }
    }

    /// The Nth such call fails while so many rows are sent: it stops and says so, and the same command goes on. How
    /// it went; `None`: there are not so many calls.
    fn at(&mut self, nth: u64, rows: u64) -> Option<Traced> {
        self.round += 1;
        self.bench.move_to(format!("round-{}", self.round));
        self.bench.rows(tickets(self.round, rows));
        let fault = format!("{}:error={}:when={nth}{}", self.call, self.error, self.then);
        let traced = self.strace.run(&self.bench, &fault, None, &RUN);
        let failed = traced.failed()?;
        if traced.output.code == Some(EXIT_DONE.into()) {
            // Where nothing depended on it: tidying up at the very end.
            assert_eq!(self.bench.counts(1), [rows, 0, 0, 0, 0, 0], "{fault}: {failed}");
        } else {
            assert_eq!(traced.output.code, Some(EXIT_MACHINE.into()), "{fault}: {failed}");
            let said = &traced.output.stderr;
            assert!(said.lines().last().unwrap().contains(" deskload: failed to "), "{fault}: {said}");
            self.stopped += 1;
        }
        self.in_doubt += goes_on(&self.bench, rows);
        fs::remove_dir_all(self.bench.dir()).unwrap();
        Some(traced)
    }

    /// It stopped so often, some rows were found in doubt, and nothing was sent twice.
    fn end(&self, stopped_at_least: u64) {
        assert!(self.stopped >= stopped_at_least, "it stopped {} times", self.stopped);
        assert!(self.in_doubt > 0, "no row was ever in doubt, so the outcomes were never hit");
        nothing_twice(&self.bench);
    }
}

/// No call of a kind after the one that failed.
fn never_again(traced: &Traced, call: &str) {
    let later: Vec<_> = traced.after_failure().filter(|line| line.contains(&format!(" {call}("))).collect();
    assert!(later.is_empty(), "after {:?} came\n{}", traced.failed(), later.join("\n"));
}

#[test]
fn f14_eio_on_fsync() {
    let Some(strace) = Strace::find() else { return };
    let mut places = Places::new(&strace, "fsync", "EIO", "");
    let mut ignored = 0;
    // All that the main thread makes: folders, account file, journal, spool, reports.
    for nth in 1.. {
        let Some(traced) = places.at(nth, 3) else { break };
        let failed = traced.failed().unwrap();
        if traced.output.code == Some(EXIT_DONE.into()) {
            // SQLite does not look at what becomes of the folder of its own files, and of its last checkpoint.
            ignored += 1;
        } else if traced.failed_file().unwrap().ends_with("journal.sqlite3") {
            // An empty journal is being made: what was done is undone, with a sync, and nothing depends on it.
            assert!(traced.after_failure().all(|line| !line.contains("-wal>")), "{failed}");
        } else {
            never_again(&traced, "fsync");
        }
    }
    assert!(ignored <= 5, "{ignored}");
    // Then the commits while rows are sent, by a thread of their own.
    for nth in 30..40 {
        let traced = places.at(nth, 40).unwrap();
        assert!(traced.failed_file().unwrap().ends_with("-wal"));
        never_again(&traced, "fsync");
        never_again(&traced, "pwrite64");
    }
    places.end(30);
}

#[test]
fn f15_eio_on_write() {
    let Some(strace) = Strace::find() else { return };
    let mut places = Places::new(&strace, "pwrite64", "EIO", "");
    // The journal, while it is made and used; a frame of its log takes two calls, so each third is all kinds.
    for nth in (1..).step_by(3) {
        if places.at(nth, 3).is_none() {
            break;
        }
    }
    for nth in 70..80 {
        assert!(places.at(nth, 40).unwrap().failed_file().unwrap().ends_with("-wal"));
    }
    places.end(25);
}

#[test]
fn f16_f17_disk_full_at_any_write() {
    let Some(strace) = Strace::find() else { return };
    let mut places = Places::new(&strace, "pwrite64", "ENOSPC", "+");
    for nth in (1..40).step_by(6).chain(70..82) {
        let traced = places.at(nth, 40).unwrap();
        if traced.failed_file().unwrap().ends_with("-wal") {
            assert!(traced.output.stderr.contains("the disk is full; make room"), "{}", traced.output.stderr);
        }
    }
    places.end(19);
}

#[test]
fn f19_file_system_turns_read_only_while_rows_are_sent() {
    let Some(strace) = Strace::find() else { return };
    let mut places = Places::new(&strace, "pwrite64", "EROFS", "+");
    for nth in 70..82 {
        places.at(nth, 40).unwrap();
    }
    places.end(12);
}

/// Makes each call of `deskload report` fail in turn, once and for good, for as long as it is one on a file: it says
/// so, the old files stay, and it works again afterwards.
fn reports_survive(strace: &Strace, call: &str, error: &str, at_least: u64) {
    let bench = Bench::scripted([
        Fate::new(When::Ticket(2), Reply::status(404)),
        Fate::new(When::Ticket(3), Reply::status(500)),
    ]);
    bench.rows(1..=4);
    bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION);
    let all = || {
        ["failures.csv", "in-doubt.csv", "report.html", "summary.json"]
            .map(|name| bench.read(&format!("deskload-reports/run-1/{name}")))
    };
    let (before, rows) = (all(), dump(&bench.journal(), &["row", "detail", "run"]));
    let mut failures = 0;
    for nth in 1.. {
        let fault = format!("{call}:error={error}:when={nth}");
        let traced = strace.run(&bench, &fault, None, &["report"]);
        let Some(failed) = traced.failed() else { break };
        if !failed.contains("deskload-reports") || failed.contains("<pipe:") {
            continue;
        }
        assert_eq!(traced.output.code, Some(EXIT_MACHINE.into()), "{fault}: {failed}");
        assert!(traced.output.stderr.contains("deskload: failed to "), "{fault}: {}", traced.output.stderr);
        assert_eq!(all(), before, "{fault}");
        let left = fs::read_dir(bench.path("deskload-reports/run-1")).unwrap().count();
        assert_eq!(left, 5, "{fault}: nothing half written is left");
        bench.run(&["report"]).code(EXIT_DONE);
        assert_eq!(all(), before);
        failures += 1;
    }
    assert!(failures >= at_least, "{failures} failures of {call}");
    assert_eq!(dump(&bench.journal(), &["row", "detail", "run"]), rows);
}

#[test]
fn f14_eio_on_fsync_of_a_report() {
    let Some(strace) = Strace::find() else { return };
    reports_survive(&strace, "fsync", "EIO", 6);
}

#[test]
fn f15_eio_on_write_of_a_report() {
    let Some(strace) = Strace::find() else { return };
    reports_survive(&strace, "write", "EIO", 3);
}

#[test]
fn f19_file_system_turns_read_only_while_reports_are_written() {
    let Some(strace) = Strace::find() else { return };
    reports_survive(&strace, "/^rename", "EROFS", 3);
}
