//! What a prune does to a journal's file and beside other processes; what goes and what stays is told in `journals`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use deskload::error::{EXIT_DONE, EXIT_OVERLAP};
use deskload::sandbox::{Fate, Reply, When};
use serde_json::Value;

use crate::support::Bench;

/// All of them, however young.
pub(super) const ALL: [&str; 4] = ["runs", "prune", "--older-than", "0d"];

#[test]
fn an_account_at_work_is_left_alone_and_the_others_are_pruned() {
    let bench = Bench::scripted([Fate::new(When::Ticket(7), Reply::silence())]);
    bench.rows(1..=3);
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    bench.run(&["run", "rows.csv", "--account-email", "two@example.com"]).code(EXIT_DONE);
    bench.file("more.csv", "ticket_id,subject\n7,x\n");
    let mut at_work = bench.start(&["run", "more.csv", "--timeout", "10m"]);
    bench.await_requests(&mut at_work, 7);
    bench.run(&ALL).code(EXIT_OVERLAP).says("pruned 1 run, 0 rows").says("another deskload (process ");
    let runs: Value = serde_json::from_str(&bench.run(&["runs", "--json"]).stdout).unwrap();
    let state = |run: usize| runs["runs"][run]["state"].as_str().unwrap().to_owned();
    assert_eq!([state(0), state(1), state(2)], ["finished", "pruned", "at_work"]);
    let said = bench.run(&[&ALL[..], &["--json"]].concat()).code(EXIT_OVERLAP);
    let events: Vec<Value> = said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!([&events[0]["event"], &events[1]["event"]], ["prune", "error"], "{}", said.stdout);
    bench.run(&[&ALL[..], &["--dry-run"]].concat()).code(EXIT_DONE).says("would prune 1 run");
}

#[test]
fn space_is_given_back_and_the_journal_stays_private() {
    let bench = Bench::new();
    let nights = |owner: &str| -> String {
        let rows = (1..=4_000).map(|ticket| format!("{ticket},{owner}\n"));
        std::iter::once("ticket_id,staff\n".to_owned()).chain(rows).collect()
    };
    for night in ["one", "two", "three", "four"] {
        bench.file("night.csv", nights(night));
        bench.run(&["run", "night.csv", "--concurrency", "64"]).code(EXIT_DONE);
    }
    let size = || fs::metadata(bench.journal()).unwrap().len();
    let before = size();
    let said = bench.run(&[&ALL[..], &["--json"]].concat()).code(EXIT_DONE);
    let told: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!((&told["rows"], &told["runs"]), (&12_000.into(), &serde_json::json!([1, 2, 3, 4])));
    assert!(size() < before / 2, "{before} bytes, then {}", size());
    assert_eq!(told["bytes_given_back"], before - size());
    for path in bench.files() {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o077;
        let is_ours =
            path.starts_with(bench.path("deskload")) || path.starts_with(bench.path("deskload-reports"));
        assert!(mode == 0 || !is_ours, "{}", path.display());
    }
    bench.file("night.csv", nights("five"));
    bench.run(&["run", "night.csv"]).code(EXIT_DONE);
}
