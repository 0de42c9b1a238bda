//! Several machines, one account: the journal on a real PostgreSQL, and workers that are killed, stopped and cut off.
//!
//! The desk's own log is the judge: no row in it takes effect twice, and a ticket's rows do so in file order, whatever
//! happens to whom. Without PostgreSQL these say that they were not run.

mod hunt;
mod proxy;
mod prune;
mod races;
mod resting;
mod standby;
mod taken;
mod ways;

use std::collections::BTreeMap;

use deskload::error::{EXIT_MACHINE, EXIT_OVERLAP, EXIT_TERMINATE, EXIT_USAGE};
use rustix::process::Signal;

use crate::support::postgres::Postgres;
use crate::support::{Bench, csv};

/// A bench whose journal is a database's.
pub(crate) struct Fleet {
    pub(crate) bench: Bench,
    pub(crate) database: Postgres,
}

impl Fleet {
    /// `None` where PostgreSQL is missing, which has been said.
    pub(crate) fn new(bench: Bench) -> Option<Self> {
        let database = Postgres::start()?;
        let bench = bench.set("DESKLOAD_JOURNAL", &database.url()).set("DESKLOAD_MAX_FAILURES", "100%");
        bench.run(&["journal", "init"]).code(0);
        // From here on with the least rights, as the guide gives them.
        database.ask(include_str!("../../../docs/examples/several-machines/role.sql"));
        let bench = bench.set("DESKLOAD_JOURNAL", &database.url().replace("deskload@", "deskload_worker@"));
        Some(Self { bench, database })
    }

    /// Rows that took effect more than once.
    fn repeated(&self) -> Vec<u64> {
        let mut times = BTreeMap::new();
        for seen in self.bench.seen().into_iter().filter(|seen| seen.applied) {
            *times.entry(seen.subject).or_insert(0) += 1;
        }
        let row = |subject: String| subject.strip_prefix("row ").unwrap().parse().unwrap();
        times.into_iter().filter(|(_, times)| *times > 1).map(|(subject, _)| row(subject)).collect()
    }

    /// Rows of the only run in this state.
    fn in_state(&self, state: u8) -> u64 {
        self.database
            .ask(&format!("SELECT count(*) FROM deskload.rows WHERE state = {state}"))
            .parse()
            .unwrap()
    }

    /// Nothing took effect twice or out of its order, and what the journal calls applied was.
    fn assert_kept(&self) {
        let (mut times, mut last) = (BTreeMap::new(), BTreeMap::new());
        for seen in self.bench.seen().iter().filter(|seen| seen.applied) {
            let row: u64 = seen.subject.strip_prefix("row ").unwrap().parse().unwrap();
            *times.entry(row).or_insert(0) += 1;
            let before = last.insert(seen.ticket, row).unwrap_or(0);
            assert!(before < row, "ticket {}: row {row} after row {before}", seen.ticket);
        }
        let repeated = self.repeated();
        assert!(repeated.is_empty(), "repeated: {repeated:?}");
        let applied = self.database.ask("SELECT number FROM deskload.rows WHERE state = 1");
        for row in applied.lines().map(|row| row.parse::<u64>().unwrap()) {
            assert!(times.contains_key(&row), "row {row} is called applied, and the desk has not seen it");
        }
        let kept =
            self.database.ask("SELECT count(*) FROM deskload.rows WHERE state = 1 AND body IS NOT NULL");
        assert_eq!(kept, "0", "what was applied is not kept");
    }

    /// The counts of the run are those of its rows.
    pub(crate) fn assert_adds_up(&self) {
        let odd = self.database.ask(
            "SELECT count(*) FROM deskload.run WHERE (rows, applied, failed, in_doubt) <> (
                 SELECT count(*), count(*) FILTER (WHERE state = 1), count(*) FILTER (WHERE state = 3),
                     count(*) FILTER (WHERE state = 5) FROM deskload.rows WHERE rows.run = run.id)",
        );
        assert_eq!(odd, "0", "{}", self.database.ask("SELECT * FROM deskload.run"));
    }
}

#[test]
fn a_database_that_crashes_and_comes_back_costs_no_row_its_place() {
    let Some(mut fleet) = Fleet::new(Bench::new().set("DESKLOAD_RATE", "100/s")) else { return };
    fleet.bench.rows((1..=600).map(|row| 1 + row % 200));
    let mut run = fleet.bench.start(&["run", "rows.csv", "--yes"]);
    for requests in [100, 300] {
        fleet.bench.await_requests(&mut run, requests);
        fleet.database.crash();
        fleet.database.begin();
    }
    // What was under way was recorded once the database was back, so nothing is in doubt.
    run.finish().code(0);
    fleet.assert_kept();
    fleet.assert_adds_up();
    assert_eq!(fleet.in_state(1), 600);
}

#[test]
fn a_worker_that_is_asked_to_end_leaves_its_units_at_once() {
    let Some(fleet) = Fleet::new(Bench::new().set("DESKLOAD_RATE", "40/s")) else { return };
    fleet.bench.rows(1..=120);
    let mut first = fleet.bench.start(&["run", "rows.csv", "--yes"]);
    fleet.bench.await_requests(&mut first, 20);
    first.signal(Signal::TERM);
    first.finish().code(EXIT_TERMINATE);
    assert_eq!(fleet.database.ask("SELECT count(*) FROM deskload.unit WHERE worker IS NOT NULL"), "0");
    // Another machine, which has no file.
    fleet.bench.run(&["work", "--once"]).code(0);
    fleet.bench.run(&["work", "--once"]).code(0).says("nothing is left to send");
    fleet.assert_kept();
    assert_eq!(fleet.in_state(1), 120);
}

#[test]
fn a_server_that_has_taken_over_gets_no_permit_out_until_a_person_confirms_it() {
    let Some(fleet) = Fleet::new(Bench::new().set("DESKLOAD_RATE", "50/s")) else { return };
    fleet.bench.rows(1..=200);
    let mut run = fleet.bench.start(&["run", "rows.csv", "--yes"]);
    fleet.bench.await_requests(&mut run, 20);
    fleet.database.ask("UPDATE deskload.journal SET instance = 'another/00000001'");
    run.finish().code(EXIT_MACHINE).says("deskload journal check --confirm");
    let seen = fleet.bench.desk().requests;
    assert_eq!(fleet.in_state(1), seen, "what was under way has been recorded");
    fleet.bench.run(&["run", "rows.csv"]).code(EXIT_MACHINE);
    fleet.bench.run(&["journal", "check"]).code(EXIT_MACHINE).says("--confirm");
    assert_eq!(fleet.bench.desk().requests, seen);
    fleet.bench.run(&["journal", "check", "--confirm", "--journal", &fleet.database.url()]).code(0);
    fleet.bench.run(&["run", "rows.csv"]).code(0);
    fleet.assert_kept();
}

#[test]
fn a_database_that_may_forget_what_it_acknowledged_is_refused() {
    for setting in ["fsync=off", "synchronous_commit=off"] {
        let Some(database) = Postgres::with(&[setting]) else { return };
        let bench = Bench::new().set("DESKLOAD_JOURNAL", &database.url());
        let name = setting.split('=').next().unwrap();
        bench.run(&["journal", "init"]).code(EXIT_MACHINE).says(name);
        drop(database);
    }
}

#[test]
fn a_second_pause_of_the_desk_is_kept_by_every_worker() {
    use deskload::sandbox::{Fate, Reply, When};
    let wait = Fate::new(When::Request(40), Reply::status(429).header("retry-after", "3"));
    let Some(fleet) = Fleet::new(Bench::scripted([wait]).set("DESKLOAD_RATE", "40/s")) else { return };
    fleet.bench.rows(1..=160);
    let mut run = fleet.bench.start(&["run", "rows.csv", "--yes"]);
    fleet.bench.await_requests(&mut run, 10);
    let work = fleet.bench.start(&["work", "--once"]);
    run.finish().code(0);
    work.finish().code(0);
    let times: Vec<f64> = fleet.bench.seen().iter().map(|seen| seen.at).collect();
    let (longest, at) = times
        .windows(2)
        .map(|two| (two[1] - two[0], two[0]))
        .fold((0.0, 0.0), |most, gap| if gap.0 > most.0 { gap } else { most });
    let late = times.iter().filter(|time| **time > times[39] + 1.0 && **time <= at).count();
    assert!(
        longest > 1.9 && late == 0,
        "the longest silence is {longest} s; {late} requests came in the pause"
    );
    fleet.assert_kept();
}

#[test]
fn rows_are_compared_once_those_who_work_for_the_account_have_ended() {
    let Some(fleet) = Fleet::new(Bench::new().set("DESKLOAD_RATE", "5/s")) else { return };
    fleet.bench.rows(1..=30);
    let mut run = fleet.bench.start(&["run", "rows.csv", "--yes"]);
    fleet.bench.await_requests(&mut run, 5);
    fleet.bench.file("night.csv", csv((1..=30).chain([31])));
    let night = ["run", "night.csv", "--yes", "--only-changed"];
    fleet.bench.run(&night).code(EXIT_OVERLAP).says("workers are at work on another run");
    assert_eq!(fleet.database.ask("SELECT count(*) FROM deskload.run"), "1", "nothing of it was staged");
    let waited = fleet.bench.run(&[&night[..], &["--on-overlap", "wait"]].concat()).code(0);
    waited.says("waiting").says("(30 unchanged)");
    run.finish().code(0);
    assert_eq!(fleet.bench.counts(2), [1, 0, 0, 0, 30, 0]);
    assert_eq!(fleet.bench.desk().requests, 31);
    let kept = fleet.database.ask("SELECT count(*) FROM deskload.rows WHERE state = 6 AND body IS NOT NULL");
    assert_eq!(kept, "0", "what is skipped is not kept");
}

#[test]
fn the_database_s_password_is_shown_nowhere() {
    let bench = Bench::new()
        .set("DESKLOAD_JOURNAL", "postgres://ops:hunter2-canary@127.0.0.1:1/desk?password=hunter2-canary");
    bench.rows(1..=3);
    let shown = |args: &[&str]| {
        let output = bench.run(args);
        assert!(!format!("{}{}", output.stdout, output.stderr).contains("hunter2"), "{args:?}: {output:?}");
        output
    };
    shown(&["run", "rows.csv", "--yes", "-vv"]).code(EXIT_MACHINE);
    shown(&["status"]).code(EXIT_MACHINE);
    shown(&["config", "show"]).code(0);
    shown(&["work", "--help"]).code(0);
    let typed = "postgres://ops:hunter2-canary@db.example/desk?sslmode=disable";
    shown(&["status", "--journal", typed]).code(EXIT_USAGE).says("personal data");
}
