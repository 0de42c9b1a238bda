//! The journal, killed while it is made, tidied up and recovered, at each call that writes.

use std::fs;

use deskload::error::{EXIT_ATTENTION, EXIT_DONE};
use deskload::sandbox::{Fate, Reply, When};
use rustix::process::Signal;

use super::{WRITING, copy};
use crate::support::ledger::{SENDING, dump, rows_in, states};
use crate::support::{Bench, Strace};

/// What must not change.
const ROWS: [&str; 4] = ["row", "detail", "mark", "run"];

/// A run that was killed with four rows on their way and all others answered.
fn killed() -> Bench {
    let bench = Bench::scripted([Fate::new(When::From(9), Reply::silence()).times(Fate::FOREVER)]);
    bench.rows(1..=12);
    let mut program = bench.start(&["run", "rows.csv", "--concurrency", "4", "--timeout", "10m"]);
    bench.await_requests(&mut program, 12);
    program.signal(Signal::KILL);
    program.finish().code_none();
    copy(&bench.dir(), &bench.beside("killed"));
    bench
}

/// Everything is again as it was right after the kill.
fn put_back(bench: &Bench) {
    fs::remove_dir_all(bench.dir()).unwrap();
    copy(&bench.beside("killed"), &bench.dir());
}

#[test]
fn f06_killed_during_a_checkpoint() {
    let Some(strace) = Strace::find() else { return };
    let bench = killed();
    let before = dump(&bench.journal(), &ROWS);
    let mut kills = 0;
    // Whoever closes the journal last makes a checkpoint, even if it has only read.
    for call in ["pwrite64", "fsync", "ftruncate", "/^unlink"] {
        for nth in 1.. {
            put_back(&bench);
            let fault = format!("{call}:signal=KILL:when={nth}");
            let status = strace.run(&bench, &fault, None, &["status"]);
            let tidy = !bench.path("deskload/journal.sqlite3-wal").exists();
            assert_eq!(dump(&bench.journal(), &ROWS), before, "{fault}");
            if !status.was_killed() {
                status.output.code(EXIT_DONE);
                assert!(tidy, "it was a checkpoint");
                break;
            }
            kills += 1;
        }
    }
    assert!(kills >= 12, "{kills} kills");
}

#[test]
fn f06_killed_during_a_checkpoint_while_sending() {
    let Some(strace) = Strace::find() else { return };
    let mut bench = Bench::new();
    let rows = 400;
    // The main thread writes once to the file itself when it makes it; then comes the checkpoint of 1,000 pages.
    for write in [2, 5, 8] {
        bench.move_to(format!("write-{write}"));
        bench.rows(write * 1_000..write * 1_000 + rows);
        let fault = format!("pwrite64:signal=KILL:when={write}");
        let run = ["run", "rows.csv", "--concurrency", "1"];
        strace.run(&bench, &fault, Some(&bench.journal()), &run).output.code_none();
        let sending = rows_in(&bench.journal(), SENDING).len() as u64;
        assert!(states(&bench.journal()).len() > 50, "it was sending");
        assert!(sending <= 2);
        let again = bench.run(&["run", "rows.csv"]);
        assert_eq!(bench.counts(1), [rows - sending, 0, 0, sending, 0, 0]);
        again.code(if sending == 0 { EXIT_DONE } else { EXIT_ATTENTION });
    }
    assert_eq!(bench.judge().applied_twice, 0, "{:?}", bench.judge().examples);
}

#[test]
fn f07_killed_during_recovery() {
    let Some(strace) = Strace::find() else { return };
    let bench = killed();
    let again = ["run", "rows.csv"];
    bench.run(&again).code(EXIT_ATTENTION);
    let (counts, rows) = (bench.counts(1), dump(&bench.journal(), &["row", "detail"]));
    assert_eq!(rows_in(&bench.journal(), SENDING), [0; 0]);
    assert!(counts[3] >= 4, "{counts:?}");
    let mut kills = 0;
    for call in WRITING {
        for nth in 1.. {
            put_back(&bench);
            let fault = format!("{call}:signal=KILL:when={nth}");
            let once = strace.run(&bench, &fault, None, &again).was_killed();
            if once {
                // What is left to write now is less, so this one may get through.
                strace.run(&bench, &fault, None, &again);
                kills += 1;
            }
            bench.run(&again).code(EXIT_ATTENTION);
            assert_eq!(bench.counts(1), counts, "{fault}");
            assert_eq!(dump(&bench.journal(), &["row", "detail"]), rows, "{fault}");
            if !once {
                break;
            }
        }
    }
    assert!(kills >= 50, "{kills} kills");
    assert_eq!(bench.desk().requests, 12, "nothing was sent");
}

#[test]
fn f08_killed_while_the_journal_is_being_created() {
    let Some(strace) = Strace::find() else { return };
    let mut bench = Bench::new();
    let (mut kills, mut round) = (0, 0);
    for call in WRITING {
        for nth in 1.. {
            round += 1;
            bench.move_to(format!("round-{round}"));
            bench.rows(round * 10..round * 10 + 3);
            let before = bench.desk().requests;
            let fault = format!("{call}:signal=KILL:when={nth}");
            let killed = strace.run(&bench, &fault, None, &["run", "rows.csv"]).was_killed();
            if bench.desk().requests > before {
                // The journal was there.
                break;
            }
            assert!(killed, "{fault}");
            kills += 1;
            bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
            assert_eq!(bench.counts(1), [3, 0, 0, 0, 0, 0], "{fault}");
            fs::remove_dir_all(bench.dir()).unwrap();
        }
    }
    assert!(kills >= 60, "{kills} kills");
    assert_eq!(bench.judge().applied_twice, 0, "{:?}", bench.judge().examples);
}
