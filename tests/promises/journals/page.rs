//! `report.html` from either journal: the same data make the same page.

use deskload::error::{EXIT_ATTENTION, EXIT_DONE};
use deskload::journal::minutes::{Latencies, Minute};
use deskload::sandbox::{Fate, Reply, When};

use super::homes::{Folder, Home, Hosted};
use crate::support::{Bench, csv};

/// In UNIX minutes: when the run began, and how many of them it went on.
const BEGAN: i64 = 29_000_000;
const MINUTES: i64 = 15;

/// What happened in one of them: the pace grows, the desk asks for a pause, is away, and becomes slower.
fn minute(at: i64) -> Minute {
    let count = |value: i64| value.unsigned_abs();
    let mut latencies = Latencies::default();
    latencies.0[4] = count(40 - at);
    latencies.0[5 + usize::try_from(at / 5).unwrap()] = count(5 + at);
    Minute {
        minute: BEGAN + at,
        applied: count(40 + at % 4),
        failed: count(at % 3),
        in_doubt: u64::from(at == 9),
        throttled: u64::from(at == 4),
        paused_ms: if at == 4 { 45_000 } else { 0 },
        away_ms: if at == 9 { 20_000 } else { 0 },
        per_second: (at > 1).then_some(0.75),
        latencies,
    }
}

/// The page of a run that has these samples, but for what tells one run from another.
fn page<H: Home>() -> Option<String> {
    let fate = |ticket, reply| Fate::new(When::Ticket(ticket), reply);
    let home =
        H::of(Bench::scripted([fate(2, Reply::error(404, "no such ticket")), fate(3, Reply::status(500))]))?;
    let bench = home.bench();
    bench.file("rows.csv", csv([1, 2, 3, 4, 3, 1]) + "nonsense,row 7\n");
    bench.run(&["run", "rows.csv", "--concurrency", "1"]).code(EXIT_ATTENTION);
    let (began_ms, ended_ms) = (BEGAN * 60_000 + 5_000, (BEGAN + MINUTES) * 60_000 - 7_000);
    let tables = H::TABLES;
    home.change(&format!("DELETE FROM {tables}minute"));
    home.change(&format!("UPDATE {tables}run SET started_ms = {began_ms}, ended_ms = {ended_ms}"));
    home.change(&format!("UPDATE {tables}invocation SET began_ms = {began_ms}, ended_ms = {ended_ms}"));
    (0..MINUTES).for_each(|at| home.sample(&minute(at)));
    bench.run(&["report", "1"]).code(EXIT_DONE);
    let page = bench.read("deskload-reports/run-1/report.html");
    let page =
        page.replace(bench.url(), "https://desk.example/").replace(&bench.dir().display().to_string(), "");
    Some(page.lines().filter(|line| !line.contains("Written by")).collect::<Vec<_>>().join("\n"))
}

#[test]
fn a_run_with_a_chart_has_the_same_page_whichever_journal_keeps_it() {
    let Some(in_database) = page::<Hosted>() else { return };
    let in_file = page::<Folder>().unwrap();
    assert!(in_file.matches("role=\"img\"").count() >= 4, "there are charts: {in_file}");
    for (database, file) in in_database.lines().zip(in_file.lines()) {
        assert_eq!(database, file);
    }
    assert_eq!(in_database, in_file);
}
