//! A prune, killed at each call that writes: a run is whole or pruned, and the same command goes on.

use std::fs;

use deskload::error::{EXIT_ATTENTION, EXIT_DONE, EXIT_USAGE};
use deskload::sandbox::{Fate, Reply, When};
use rusqlite::types::Value;

use super::{WRITING, copy};
use crate::support::ledger::dump;
use crate::support::{Bench, Strace};

const PRUNE: [&str; 4] = ["runs", "prune", "--older-than", "0d"];

/// What a finished prune leaves: the rows and what belongs to them, and the runs as they are told, but for the time.
fn left(bench: &Bench) -> (Vec<(String, Vec<Value>)>, Vec<serde_json::Value>) {
    let said = bench.run(&["runs", "--json"]).code(EXIT_DONE);
    let mut told: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    let mut runs = told["runs"].as_array_mut().unwrap().clone();
    for run in &mut runs {
        run["pruned_at"] = run["pruned_at"].is_string().into();
    }
    (dump(&bench.journal(), &["row", "detail", "mark", "minute"]), runs)
}

#[test]
fn f06_killed_during_a_prune() {
    let Some(strace) = Strace::find() else { return };
    let bench = Bench::scripted([Fate::new(When::Ticket(2), Reply::status(404))]);
    bench.rows(1..=4);
    bench.run(&["run", "rows.csv", "--max-failures", "100%"]).code(EXIT_ATTENTION);
    bench.file("newer.csv", "ticket_id,subject\n1,newer\n3,newer\n");
    bench.run(&["run", "newer.csv"]).code(EXIT_DONE);
    copy(&bench.dir(), &bench.beside("before"));
    bench.run(&PRUNE).code(EXIT_DONE).says("pruned 2 runs, 3 rows");
    let after = left(&bench);
    let (mut kills, mut between) = (0, 0);
    for call in WRITING {
        for nth in 1.. {
            fs::remove_dir_all(bench.dir()).unwrap();
            copy(&bench.beside("before"), &bench.dir());
            let fault = format!("{call}:signal=KILL:when={nth}");
            let killed = strace.run(&bench, &fault, None, &PRUNE).was_killed();
            // Whole, with all of its rows to report, or pruned.
            let report = bench.run(&["report", "1"]);
            if report.code == Some(EXIT_DONE.into()) {
                assert_eq!(bench.told(1, "failures").len(), 1, "{fault}");
            } else {
                report.code(EXIT_USAGE).says("were pruned");
                between += u64::from(left(&bench) != after);
            }
            bench.run(&PRUNE).code(EXIT_DONE);
            assert_eq!(left(&bench), after, "{fault}");
            assert_eq!(
                fs::read_dir(bench.path("deskload/journal.sqlite3.spool")).unwrap().count(),
                0,
                "{fault}"
            );
            if !killed {
                break;
            }
            kills += 1;
        }
    }
    assert!(kills >= 30 && between >= 3, "{kills} kills, {between} of them with rows left");
    assert_eq!(bench.desk().requests, 6);
}
