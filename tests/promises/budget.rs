//! The account's budget and the desk's pauses: every form in which a desk names them, and whatever ends the program.
//!
//! The desk's log is the judge. What it shows within a time may not be more than the limit, whichever process sent it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use deskload::error::{EXIT_ATTENTION, EXIT_DONE, EXIT_EARLY};
use deskload::sandbox::{Fate, Reply, When};
use rustix::process::Signal;

use crate::support::Bench;

/// The most that arrived within so many seconds.
pub(super) fn worst(times: &[f64], seconds: f64) -> usize {
    (0..times.len())
        .map(|first| times[first..].iter().take_while(|at| **at < times[first] + seconds).count())
        .max()
        .unwrap_or(0)
}

/// When each request arrived.
pub(super) fn times(bench: &Bench) -> Vec<f64> {
    bench.seen().iter().map(|seen| seen.at).collect()
}

#[test]
fn a_crash_loop_never_exceeds_the_limit() {
    let bench = Bench::new();
    bench.rows(1..=1_000);
    let command = ["run", "rows.csv", "--rate", "20/s,12/3s", "--burst", "6", "--max-failures", "100%"];
    let mut dice = fastrand::Rng::with_seed(5);
    for _ in 0..6 {
        // As soon as something has been sent: the worst moment, because nothing was learnt from it.
        let wanted = bench.desk().requests + dice.u64(1..=6);
        let mut program = bench.start(&command);
        bench.await_requests(&mut program, wanted);
        program.signal(Signal::KILL);
        program.finish().code_none();
    }
    let times = times(&bench);
    assert!(times.len() >= 6, "it got something done: {}", times.len());
    assert!(worst(&times, 3.0) <= 12, "{} in 3 s: {times:.3?}", worst(&times, 3.0));
}

#[test]
fn without_a_limit_no_budget_is_written_down() {
    let bench = Bench::new();
    bench.rows(1..=20);
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    let journal = rusqlite::Connection::open(bench.journal()).unwrap();
    let spent =
        || journal.query_row("SELECT total(requests) FROM spent", [], |row| row.get::<_, f64>(0)).unwrap();
    assert!(spent().abs() < 0.5);
    bench.run(&["run", "rows.csv", "--again", "--rate", "100/s,3000/min"]).code(EXIT_DONE);
    assert!((spent() - 20.0).abs() < 0.5, "each request is counted: {}", spent());
}

#[test]
fn a_restart_within_a_pause_waits_for_its_end() {
    let busy = Reply::status(429).header("retry-after", "3");
    let bench = Bench::scripted([Fate::new(When::Request(3), busy)]);
    bench.rows(1..=6);
    let mut program = bench.start(&["run", "rows.csv", "--concurrency", "1", "--rate", "50/s"]);
    bench.await_requests(&mut program, 3);
    let journal = rusqlite::Connection::open(bench.journal()).unwrap();
    crate::support::until("the pause is in the journal", || {
        journal.query_row("SELECT count(*) FROM pause", [], |row| row.get::<_, i64>(0)).unwrap() == 1
    });
    program.signal(Signal::KILL);
    program.finish().code_none();
    bench.run(&["run", "rows.csv", "--rate", "50/s"]).code(EXIT_DONE);
    let times = times(&bench);
    assert_eq!(times.len(), 7);
    assert!(times[3] - times[2] >= 3.0, "{times:.3?}");
}

#[test]
fn a_restart_within_a_pause_that_is_too_long_asks_nobody() {
    let busy = Reply::status(429).header("retry-after", "3600");
    let bench = Bench::scripted([Fate::new(When::Request(3), busy)]);
    bench.rows(1..=6);
    for _ in 0..2 {
        let stopped = bench.run(&["run", "rows.csv", "--concurrency", "1"]).code(EXIT_EARLY);
        stopped.says("--max-wait is 15m").says("give the same command again at ");
        assert_eq!(bench.counts(1), [2, 0, 0, 0, 0, 4]);
        assert_eq!(bench.seen().len(), 3, "the second one asks nobody");
    }
    bench.run(&["run", "rows.csv", "--max-wait", "500ms"]).code(EXIT_EARLY);
    assert_eq!(bench.seen().len(), 3);
}

#[test]
fn every_form_of_a_pause_is_kept() {
    let soon = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(4);
    let iso = jiff::Timestamp::from_second(i64::try_from(soon.as_secs()).unwrap()).unwrap();
    let date = httpdate::fmt_http_date(UNIX_EPOCH + soon);
    let bench = Bench::scripted([
        Fate::new(
            When::Ticket(2),
            Reply::status(429).header("x-ratelimit-reset", &soon.as_secs().to_string()),
        ),
        Fate::new(When::Ticket(4), Reply::status(429).header("x-ratelimit-reset", "1")),
        Fate::new(When::Ticket(6), Reply::status(429).header("x-ratelimit-retry-after", "1")),
        Fate::new(When::Ticket(8), Reply::status(429)),
        Fate::new(When::Ticket(10), Reply::status(429).header("x-ratelimit-reset", &iso.to_string())),
        Fate::new(When::Ticket(12), Reply::status(429).header("retry-after", &date)),
    ]);
    bench.rows(1..=14);
    bench.run(&["run", "rows.csv", "--concurrency", "1"]).code(EXIT_DONE);
    let seen = bench.seen();
    assert_eq!(seen.len(), 20);
    let next_after = |ticket: u64| {
        let refused = seen.iter().position(|seen| seen.ticket == ticket).unwrap();
        (seen[refused].at, seen[refused + 1].at)
    };
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^52")]
    let soon = soon.as_secs() as f64;
    assert!(next_after(2).1 >= soon, "UNIX seconds");
    for (ticket, wait) in [(4, 1.0), (6, 1.0)] {
        let (refused, next) = next_after(ticket);
        assert!(next - refused >= wait, "{ticket}: {refused} {next}");
    }
    // By then both of these are over: no wait, and no trouble either.
    assert!(next_after(10).1 >= soon && next_after(12).1 >= soon);
}

#[test]
fn a_ticket_s_own_limit_parks_it_and_the_others_go_on() {
    let busy = Reply::status(429).header("retry-after", "2");
    let bench = Bench::scripted([Fate::new(When::Ticket(3), busy).times(2)]);
    bench.rows((1..=60).chain([3]));
    bench.run(&["run", "rows.csv", "--concurrency", "1", "--rate", "30/s"]).code(EXIT_DONE);
    assert_eq!(bench.counts(1), [61, 0, 0, 0, 0, 0]);
    let seen = bench.seen();
    let own: Vec<usize> = (0..seen.len()).filter(|at| seen[*at].ticket == 3).collect();
    assert_eq!(own.len(), 4, "twice refused, then both of its rows");
    let after = |index: usize| seen[index + 1].at - seen[index].at;
    assert!(after(own[0]) >= 2.0, "the first refusal pauses the account: {}", after(own[0]));
    assert!(after(own[1]) < 2.0, "the second one does not: {}", after(own[1]));
    assert!(seen[own[2]].at - seen[own[1]].at >= 2.0, "and the ticket rests as long as the desk said");
    assert!(own[2] > own[1] + 4, "while others go on");
}

#[test]
fn after_a_refusal_the_pace_is_halved_and_said() {
    let busy = Reply::status(429).header("retry-after", "1");
    let bench = Bench::scripted([Fate::new(When::Request(11), busy)]);
    bench.rows(1..=40);
    let args = ["run", "rows.csv", "--concurrency", "1", "--rate", "20/s", "-v"];
    bench.run(&args).code(EXIT_DONE).says("slower pace: 10.000/s");
    let times = times(&bench);
    let slow = &times[11..];
    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^52")]
    let per_second = (slow.len() - 1) as f64 / (slow[slow.len() - 1] - slow[0]);
    assert!(per_second <= 10.6, "{per_second}");
}

#[test]
fn an_update_in_doubt_has_been_paid_for() {
    let bench = Bench::scripted([Fate::new(When::Request(1), Reply::status(500))]);
    bench.rows(1..=3);
    bench.run(&["run", "rows.csv", "--rate", "100/s", "--max-failures", "100%"]).code(EXIT_ATTENTION);
    let journal = rusqlite::Connection::open(bench.journal()).unwrap();
    let spent: f64 = journal.query_row("SELECT total(requests) FROM spent", [], |row| row.get(0)).unwrap();
    assert!((spent - 3.0).abs() < 0.5, "{spent}");
}

#[test]
fn a_crash_loop_never_exceeds_a_ticket_s_limit() {
    let bench = Bench::new();
    bench.rows((1..=200).map(|row| if row % 2 == 0 { 7 } else { 1_000 + row }));
    let command =
        ["run", "rows.csv", "--rate-per-ticket", "2/3s", "--in-doubt", "resend", "--max-failures", "100%"];
    let own =
        || -> Vec<f64> { bench.seen().iter().filter(|seen| seen.ticket == 7).map(|seen| seen.at).collect() };
    for _ in 0..3 {
        let before = own().len();
        let program = bench.start(&command);
        // The second one of this process is the last that the window takes.
        crate::support::until("the ticket was sent twice", || own().len() >= before + 2);
        program.signal(Signal::KILL);
        program.finish().code_none();
    }
    let times = own();
    assert!(times.len() >= 6, "it got something done: {}", times.len());
    assert!(worst(&times, 3.0) <= 2, "{} in 3 s: {times:.3?}", worst(&times, 3.0));
}

#[test]
fn a_restart_goes_on_at_the_slower_pace() {
    let busy = Reply::status(429).header("retry-after", "1");
    let bench = Bench::scripted([Fate::new(When::Request(3), busy)]);
    bench.rows(1..=40);
    let args = ["run", "rows.csv", "--concurrency", "1", "--rate", "20/s", "-v"];
    let mut program = bench.start(&args);
    bench.await_requests(&mut program, 6);
    program.signal(Signal::KILL);
    program.finish().code_none();
    let before = times(&bench).len();
    bench.run(&args).says("slower pace: 10.000/s");
    let times = times(&bench);
    let slow = &times[before..];
    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^52")]
    let per_second = (slow.len() - 1) as f64 / (slow[slow.len() - 1] - slow[0]);
    assert!(slow.len() > 20 && per_second <= 10.6, "{} at {per_second}", slow.len());
}
