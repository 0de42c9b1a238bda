//! kill -9 at any moment: no update goes twice, every row is accounted for.

use std::time::Duration;

use deskload::error::{EXIT_ATTENTION, EXIT_DONE};
use deskload::sandbox::options::Latency;
use deskload::sandbox::{Fate, Reply, When};
use rustix::process::Signal;

use crate::support::Bench;

/// Twenty kills in release, eight where the program is slower; `DESKLOAD_TEST_KILLS` says another number.
fn kills() -> u64 {
    let usual = if cfg!(debug_assertions) { 8 } else { 20 };
    std::env::var("DESKLOAD_TEST_KILLS").map_or(usual, |kills| kills.parse().unwrap())
}

/// Rows for each kill, so that there is something left to kill.
const ROWS_PER_KILL: u64 = if cfg!(debug_assertions) { 500 } else { 1_000 };

const CONCURRENCY: u64 = 32;

fn slow_desk() -> Bench {
    let latency = Latency { min: Duration::from_millis(1), max: Duration::from_millis(8) };
    Bench::with(|options| options.latency = latency)
}

/// How many rows the start after a kill found on their way.
fn found_in_doubt(stderr: &str) -> u64 {
    stderr
        .lines()
        .find_map(|line| line.split_once("the process before this one ended with "))
        .map_or(0, |(_, found)| found.split(' ').next().unwrap().replace(',', "").parse().unwrap())
}

#[test]
fn no_update_is_applied_twice_however_often_the_program_is_killed() {
    let bench = slow_desk();
    let mut dice = fastrand::Rng::with_seed(20);
    let kills = kills();
    let rows = kills * ROWS_PER_KILL;
    bench.rows((0..rows).map(|row| 1_000 + if row % 5 == 0 { row / 2 } else { row }));
    let command = ["run", "rows.csv", "--rate", "unlimited", "--concurrency", "32"];
    let mut in_doubt = 0;
    for round in 1..=kills {
        let wanted = bench.desk().requests + dice.u64(1..ROWS_PER_KILL * 4 / 5);
        let mut program = bench.start(&command);
        bench.await_requests(&mut program, wanted);
        program.signal(Signal::KILL);
        let found = found_in_doubt(&program.finish().code_none().stderr);
        assert!(found <= 2 * CONCURRENCY, "round {round}: {found} in doubt after one kill");
        in_doubt += found;
    }
    let last = bench.run(&command);
    let found = found_in_doubt(&last.stderr);
    assert!(found <= 2 * CONCURRENCY, "{found} in doubt after the last kill");
    in_doubt += found;
    let judge = bench.judge();
    assert_eq!(judge.applied_twice, 0, "{:?}", judge.examples);
    assert!(in_doubt > 0, "requests were on their way when the program was killed");
    last.code(EXIT_ATTENTION);

    let [applied, failed, invalid, doubtful, skipped, pending] = bench.counts(1);
    assert_eq!((failed, invalid, skipped, doubtful), (0, 0, 0, in_doubt));
    assert_eq!(applied + doubtful + pending, rows);
    assert!(judge.applied >= applied, "the journal claims no more than the desk has seen");
    assert!(judge.applied <= applied + doubtful, "what the desk has and the journal not, is in doubt");

    // In doubt they stay, and what waits behind them waits on.
    let requests = bench.desk().requests;
    bench.run(&command).code(EXIT_ATTENTION);
    assert_eq!(bench.desk().requests, requests);
    assert_eq!(bench.counts(1), [applied, 0, 0, doubtful, 0, pending]);
}

#[test]
fn the_status_of_a_killed_run_says_so() {
    let bench = slow_desk();
    bench.rows(1..=500);
    let mut program = bench.start(&["run", "rows.csv", "--rate", "50/s"]);
    bench.await_requests(&mut program, 5);
    let working = bench.run(&["status"]).code(EXIT_DONE);
    assert!(working.stdout.contains("a process is sending"), "{}", working.stdout);
    program.signal(Signal::KILL);
    program.finish();
    let killed = bench.run(&["status"]).code(EXIT_DONE);
    assert!(killed.stdout.contains("cut off"), "{}", killed.stdout);
}

#[test]
fn reports_that_a_kill_prevented_are_written_by_the_same_command() {
    let bench = Bench::scripted([Fate::new(When::Ticket(2), Reply::status(404))]);
    bench.rows(1..=3);
    bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION);
    let names = ["failures.csv", "summary.json"].map(|name| format!("deskload-reports/run-1/{name}"));
    let before = names.each_ref().map(|name| bench.read(name));
    std::fs::remove_dir_all(bench.path("deskload-reports")).unwrap();
    bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION).says("run-1/failures.csv").says("correct the cells");
    assert_eq!(names.each_ref().map(|name| bench.read(name)), before, "the times are those of the sending");
}
