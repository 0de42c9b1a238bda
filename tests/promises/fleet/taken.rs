//! The tickets of a worker that was killed, and how long they wait until another one sends for them.
//!
//! That is told, and not asserted: `DESKLOAD_TEST_FLEET_ROUNDS=10` does it so many times, some at a time.

use std::collections::HashSet;
use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use deskload::error::EXIT_TERMINATE;
use rustix::process::Signal;

use super::Fleet;
use crate::support::{Bench, Started};

/// So many that nobody comes to the end of his own.
const ROWS: u64 = 40_000;

/// Rounds at a time: most of a round is waiting for leases to end.
const AT_A_TIME: usize = 5;

impl Fleet {
    /// Of these units, the rows that somebody has asked for.
    fn asked_for(&self, units: &str) -> HashSet<String> {
        let sql = format!(
            "SELECT 'row ' || number FROM deskload.rows WHERE unit IN ({units}) AND worker IS NOT NULL"
        );
        self.database.ask(&sql).lines().map(str::to_owned).collect()
    }
}

fn kill(worker: Started) {
    worker.signal(Signal::KILL);
    worker.finish().code_none();
}

/// One of two workers is killed with rows on their way. Gives after how many seconds the desk saw one of its tickets again.
fn round() -> Option<f64> {
    let fleet = Fleet::new(Bench::new().set("DESKLOAD_RATE", "100/s"))?;
    fleet.bench.rows((1..=ROWS).map(|row| 1 + row % (ROWS / 2)));
    let mut run = fleet.bench.start(&["run", "rows.csv", "--yes"]);
    fleet.bench.await_requests(&mut run, 1);
    let (mut stays, dies) = (fleet.bench.start(&["work"]), fleet.bench.start(&["work"]));
    fleet.await_share(&[&stays, &dies]);
    run.signal(Signal::TERM);
    run.finish().code(EXIT_TERMINATE);
    // Both have taken what it left.
    fleet.database.until("NOT EXISTS (SELECT FROM deskload.unit WHERE worker IS NULL)");
    let so_far = fleet.bench.desk().requests;
    fleet.bench.await_requests(&mut stays, so_far + 200);
    fleet.await_sending(&dies);
    let name = format!("process {}", dies.pid().as_raw_nonzero());
    let killed_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    kill(dies);
    // Its leases are still running.
    let worker = fleet.database.ask(&format!("SELECT id FROM deskload.worker WHERE name = '{name}'"));
    let units = fleet
        .database
        .ask(&format!("SELECT string_agg(unit::text, ',') FROM deskload.unit WHERE worker = {worker}"));
    let before = fleet.asked_for(&units);
    fleet.database.until(&format!(
        "{} < (SELECT count(*) FROM deskload.rows WHERE unit IN ({units}) AND state = 1 OR unit IN ({units}) AND state = 5)",
        before.len()
    ));
    let asked_for = fleet.asked_for(&units);
    kill(stays);
    assert_eq!(fleet.repeated(), [0; 0]);
    let of_it: HashSet<&String> = asked_for.difference(&before).collect();
    let seen = fleet.bench.seen().into_iter().filter(|seen| of_it.contains(&seen.subject));
    seen.map(|seen| seen.at - killed_at).reduce(f64::min)
}

#[test]
fn the_tickets_of_a_worker_that_was_killed_do_not_wait_for_the_end_of_another_s_own() {
    let rounds = std::env::var("DESKLOAD_TEST_FLEET_ROUNDS").ok().map_or(1, |n| n.parse().unwrap());
    let mut all: Vec<f64> = Vec::new();
    while all.len() < rounds {
        let some = AT_A_TIME.min(rounds - all.len());
        let found: Vec<Option<f64>> = std::thread::scope(|scope| {
            let at_work: Vec<_> = (0..some).map(|_| scope.spawn(round)).collect();
            at_work.into_iter().map(|round| round.join().unwrap()).collect()
        });
        all.extend(found.iter().flatten());
        if found.contains(&None) {
            return;
        }
    }
    all.sort_by(f64::total_cmp);
    if rounds > 1 {
        let (least, median, most) = (all[0], all[rounds / 2], all[rounds - 1]);
        let told = format!("{rounds} workers killed: their tickets were sent for again after {least:.1} s");
        writeln!(std::io::stderr(), "{told}, median {median:.1} s, at most {most:.1} s").unwrap();
    }
}
