//! The whole program on either journal, through things that happen: what a person and the desk see is the same.

use deskload::error::{EXIT_ATTENTION, EXIT_DONE, EXIT_EARLY};
use deskload::sandbox::{Fate, Reply, When, options::parse_latency};
use rustix::process::Signal;

use super::homes::{Folder, Home, Hosted, home};
use super::on_both;
use crate::budget::{times, worst};
use crate::fleet::Fleet;
use crate::support::{Bench, closing_time, csv, one_at_a_time, until};

on_both!(
    Folder, Hosted:
    rows_of_a_ticket_go_in_file_order_through_refusals_of_the_moment,
    a_doubt_parks_its_ticket_and_the_same_update_in_another_file,
    a_run_that_was_stopped_goes_on_where_it_was,
    a_pause_outlives_the_process_that_was_asked_for_it,
    the_pace_is_halved_once_the_desk_has_said_later,
    a_budget_is_kept_across_kills,
    a_rate_per_ticket_holds_that_ticket_back_alone_whichever_process_sent,
);

fn rows_of_a_ticket_go_in_file_order_through_refusals_of_the_moment<H: Home>() {
    let busy = |request| Fate::new(When::Request(request), Reply::status(429).header("retry-after", "0"));
    let home = home!(
        H,
        Bench::with(|options| {
            options.latency = parse_latency("1..20").unwrap();
            options.fates = [5, 40, 41, 90].map(busy).into();
        })
    );
    let bench = home.bench();
    bench.rows((0..120).map(|row| 1 + row % 7));
    bench.run(&["run", "rows.csv", "--yes", "--concurrency", "8"]).code(EXIT_DONE);
    assert_eq!(bench.counts(1), [120, 0, 0, 0, 0, 0]);
    for ticket in 1..=7 {
        let seen = bench.seen().into_iter().filter(|seen| seen.ticket == ticket && seen.applied);
        let rows: Vec<u64> = seen.map(|seen| seen.subject["row ".len()..].parse().unwrap()).collect();
        let expected: Vec<u64> = (1..=120).filter(|row| (row - 1) % 7 + 1 == ticket).collect();
        assert_eq!(rows, expected, "ticket {ticket}");
    }
    assert_eq!(bench.summary(1)["throttled"], 4);
}

fn a_doubt_parks_its_ticket_and_the_same_update_in_another_file<H: Home>() {
    let home = home!(H, Bench::scripted([Fate::new(When::Request(2), Reply::status(502))]));
    let bench = home.bench();
    bench.file("rows.csv", csv([1, 2, 3, 2]));
    bench.run(&["run", "rows.csv", "--yes", "--concurrency", "1"]).code(EXIT_ATTENTION);
    assert_eq!(bench.counts(1), [2, 0, 0, 1, 0, 1], "row 4 is of the ticket of row 2");
    bench.file("other.csv", csv([9, 2]));
    bench.run(&["run", "other.csv", "--yes"]).code(EXIT_ATTENTION);
    assert_eq!(bench.counts(2), [1, 0, 0, 0, 0, 1], "its row 2 asks for what is in doubt");
    assert_eq!(bench.desk().requests, 4);
    bench.run(&["resolve", "1", "--applied"]).code(EXIT_DONE);
    bench.run(&["resume", "2"]).code(EXIT_DONE);
    assert_eq!(bench.counts(2), [2, 0, 0, 0, 0, 0]);
}

fn a_run_that_was_stopped_goes_on_where_it_was<H: Home>() {
    let home = home!(H, Bench::scripted([closing_time(4)]));
    let bench = home.bench();
    bench.rows(1..=8);
    bench.run(&one_at_a_time("rows.csv", &["--yes"])).code(EXIT_EARLY);
    assert_eq!(bench.counts(1), [3, 0, 0, 0, 0, 5]);
    bench.run(&["run", "rows.csv", "--limit", "2"]).code(EXIT_EARLY);
    assert_eq!(bench.counts(1), [5, 0, 0, 0, 0, 3]);
    bench.run(&["resume"]).code(EXIT_DONE);
    assert_eq!(bench.counts(1), [8, 0, 0, 0, 0, 0]);
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE).says("nothing left to do");
    let judge = bench.judge();
    assert_eq!((judge.applied, judge.applied_twice, judge.requests), (8, 0, 9));
}

fn a_pause_outlives_the_process_that_was_asked_for_it<H: Home>() {
    let busy = Reply::status(429).header("retry-after", "3");
    let home = home!(H, Bench::scripted([Fate::new(When::Request(3), busy)]));
    let bench = home.bench();
    bench.rows(1..=6);
    let mut program = bench.start(&["run", "rows.csv", "--yes", "--concurrency", "1", "--rate", "50/s"]);
    bench.await_requests(&mut program, 3);
    until("the pause to be in the journal", || home.knows_a_pause());
    program.signal(Signal::KILL);
    program.finish().code_none();
    bench.run(&["run", "rows.csv", "--rate", "50/s"]).code(EXIT_DONE);
    let times = times(bench);
    assert_eq!(times.len(), 7);
    assert!(times[3] - times[2] >= 3.0, "{times:.3?}");
}

fn the_pace_is_halved_once_the_desk_has_said_later<H: Home>() {
    let busy = Fate::new(When::Request(10), Reply::status(429).header("retry-after", "0"));
    let home = home!(H, Bench::scripted([busy]));
    let bench = home.bench();
    bench.rows(1..=100);
    bench.run(&["run", "rows.csv", "--yes", "--rate", "40/s"]).code(EXIT_DONE);
    let times = times(bench);
    // What had its permit by then may still leave.
    let after: Vec<f64> = times.iter().copied().filter(|at| *at > times[9] + 0.5).collect();
    assert!(worst(&after, 3.0) <= 3 * 20 + 3, "{} in 3 s", worst(&after, 3.0));
}

fn a_budget_is_kept_across_kills<H: Home>() {
    let home = home!(H, Bench::new());
    let bench = home.bench();
    bench.rows(1..=24);
    let command = ["run", "rows.csv", "--yes", "--rate", "20/s,6/3s", "--burst", "6"];
    for wanted in [3, 8] {
        let mut program = bench.start(&command);
        bench.await_requests(&mut program, wanted);
        program.signal(Signal::TERM);
        program.finish();
    }
    bench.run(&command).code(EXIT_DONE);
    let times = times(bench);
    assert_eq!(times.len(), 24);
    // One that was held up on its way arrives closer to the next.
    assert!(worst(&times, 2.9) <= 6, "{} in 3 s: {times:.3?}", worst(&times, 2.9));
}

fn a_rate_per_ticket_holds_that_ticket_back_alone_whichever_process_sent<H: Home>() {
    let home = home!(H, Bench::new());
    let bench = home.bench();
    bench.rows([7, 7, 7, 7, 7].into_iter().chain(1_001..=1_020));
    let command = ["run", "rows.csv", "--yes", "--rate-per-ticket", "2/2s"];
    bench.run(&[&command[..], &["--limit", "2"]].concat()).code(EXIT_EARLY);
    assert_eq!(bench.desk().requests, 2);
    bench.run(&command).code(EXIT_DONE);
    let seen = bench.seen();
    let own: Vec<f64> = seen.iter().filter(|seen| seen.ticket == 7).map(|seen| seen.at).collect();
    assert_eq!((own.len(), seen.len()), (5, 25));
    assert!(own[2] - own[0] >= 1.95 && own[4] - own[2] >= 1.95, "{own:.3?}");
    assert!(seen.iter().take(22).filter(|seen| seen.ticket > 1_000).count() == 20, "the others did not wait");
}

/// What a run that met everything looks like from outside.
#[derive(Debug, PartialEq)]
struct Seen {
    counts: Vec<[u64; 6]>,
    failures: String,
    in_doubt: String,
    desk: Vec<String>,
    attempts: u64,
}

fn fates() -> [Fate; 3] {
    [
        Fate::new(When::Request(3), Reply::status(404)),
        Fate::new(When::Request(5), Reply::status(502)),
        Fate::new(When::Request(8), Reply::status(429).header("retry-after", "0")),
    ]
}

/// Rows that are refused, in doubt, throttled, invalid, and behind a doubt; a person's words; a second try.
fn live(bench: &Bench) -> Seen {
    // Row 5 is in doubt, and row 9 is of its ticket.
    bench.file("rows.csv", csv([1, 2, 3, 4, 5, 6, 7, 8, 5]) + "nonsense,row 10\n");
    bench.run(&["run", "rows.csv", "--yes", "--concurrency", "1"]).code(EXIT_ATTENTION);
    let mut counts = vec![bench.counts(1)];
    let failures = bench.read("deskload-reports/run-1/failures.csv");
    let in_doubt = bench.read("deskload-reports/run-1/in-doubt.csv");
    bench.run(&["resolve", "1", "--applied", "--rows", "4"]).code(2).says("row 4 of run 1 is not in doubt");
    bench.run(&["resolve", "1", "--applied", "--rows", "5"]).code(0);
    bench.run(&["resume", "1"]).code(EXIT_ATTENTION);
    counts.push(bench.counts(1));
    bench.run(&["retry", "1"]).code(EXIT_ATTENTION);
    counts.push(bench.counts(1));
    bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION).says("nothing left to send");
    bench.run(&["report", "1"]).code(0);
    counts.push(bench.counts(1));
    let desk = bench.seen().iter().map(|seen| format!("{} {}", seen.ticket, seen.subject)).collect();
    Seen { counts, failures, in_doubt, desk, attempts: bench.summary(1)["attempts"].as_u64().unwrap() }
}

#[test]
fn a_run_looks_the_same_whichever_journal_keeps_it() {
    let Some(fleet) = Fleet::new(Bench::scripted(fates())) else { return };
    let in_database = live(&fleet.bench);
    fleet.assert_adds_up();
    drop(fleet);
    let in_file = live(Folder::of(Bench::scripted(fates())).unwrap().bench());
    assert_eq!(in_database, in_file);
    assert_eq!(in_file.counts.last(), Some(&[9, 0, 1, 0, 0, 0]));
}
