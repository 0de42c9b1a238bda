//! A disk that fails, is full, or may not be written: nothing more is sent, it says so, exit 1, nothing is lost, and
//! the same command goes on once it can.
//!
//! `error` has failures at one precise call, made by strace; `full` has real ones: a small disk, a file size limit.

mod error;
mod full;

use deskload::error::{EXIT_ATTENTION, EXIT_DONE};

use crate::support::ledger::{SENDING, rows_in};
use crate::support::{Bench, Output};

/// `run` with one request at a time.
const RUN: [&str; 4] = ["run", "rows.csv", "--concurrency", "1"];

/// The tickets of a round, which are those of no other.
fn tickets(round: u64, rows: u64) -> impl Iterator<Item = u64> {
    (0..rows).map(move |row| 1_000 * (round + 1) + row)
}

/// The same command once more, on a disk that works: of so many rows each is applied, or was on its way when the
/// program stopped and is in doubt. How many are in doubt.
fn goes_on(bench: &Bench, rows: u64) -> u64 {
    let sending = if bench.journal().exists() { rows_in(&bench.journal(), SENDING).len() as u64 } else { 0 };
    assert!(sending <= 2, "{sending} rows were on their way, with one request at a time");
    let again: Output = bench.run(&RUN);
    let [applied, 0, 0, in_doubt, 0, 0] = bench.counts(1) else { panic!("{:?}", bench.counts(1)) };
    assert_eq!(applied + in_doubt, rows);
    assert_eq!(in_doubt, sending);
    again.code(if in_doubt == 0 { EXIT_DONE } else { EXIT_ATTENTION });
    in_doubt
}

/// No update was applied twice, in any round.
fn nothing_twice(bench: &Bench) {
    let judge = bench.judge();
    assert_eq!(judge.applied_twice, 0, "{:?}", judge.examples);
}
