//! How much of a desk that keeps asking to come back later is borne. What each answer means is in `faults::pause`.

use deskload::error::{EXIT_DONE, EXIT_EARLY};
use deskload::sandbox::{Fate, Reply, When};

use crate::support::{Bench, NOBODY};

#[test]
fn a_desk_with_its_own_limit_is_kept_to_its_end() {
    let bench = Bench::with(|options| options.rate = Some(40.0));
    bench.rows(1..=120);
    bench.run(&["run", "rows.csv", "--rate", "100/s"]).code(EXIT_DONE);
    let judge = bench.judge();
    assert_eq!((judge.applied, judge.applied_twice), (120, 0));
    let throttled = judge.count(deskload::sandbox::judge::Word::Throttled);
    assert!(throttled > 0);
    assert_eq!(bench.summary(1)["throttled"], throttled);
}

#[test]
fn a_desk_that_throttles_for_ever_without_a_wait_is_given_up_after_patience() {
    for header in [("retry-after", "0"), ("x-nothing", "0")] {
        let busy = Reply::status(429).header(header.0, header.1);
        let bench = Bench::scripted([Fate::new(When::From(3), busy).times(Fate::FOREVER)]);
        bench.rows(1..=6);
        let stopped = bench.run(&["run", "rows.csv", "--rate", "50/s", "--patience", "2s"]);
        stopped.code(EXIT_EARLY);
        assert_eq!(bench.counts(1), [2, 0, 0, 0, 0, 4]);
    }
}

#[test]
fn a_ticket_that_is_throttled_while_others_go_through_rests() {
    let busy = Reply::status(429).header("retry-after", "0");
    let bench = Bench::scripted([Fate::new(When::Ticket(3), busy).times(Fate::FOREVER)]);
    bench.rows((1..=80).chain([3]));
    let args = ["run", "rows.csv", "--retries", "2", "--concurrency", "4", "--rate", "100/s"];
    bench.run(&args).code(EXIT_EARLY).says("kept asking to come back later for 1 row");
    assert_eq!(bench.counts(1), [79, 0, 0, 0, 0, 2], "pending, never failed");
    assert_eq!(bench.seen().iter().filter(|seen| seen.ticket == 3).count(), 3);
}

#[test]
fn the_guess_of_a_pace_is_said_with_the_time_it_takes() {
    // An address kept for documentation: nobody is there, or no way leads to it.
    let bench = Bench::new().set("DESKLOAD_URL", "https://192.0.2.1/app/api/v1/update/ticket/");
    bench.rows(1..=300);
    let args = ["run", "rows.csv", "--patience", "1s", "--connect-timeout", "200ms"];
    let guessed = bench.run(&args).code(EXIT_EARLY);
    guessed.says("pace 1/s").says("the pace is a guess").says("this takes 5m");
    assert_eq!(bench.counts(1), [0, 0, 0, 0, 0, 300]);
    bench.run(&["run", "rows.csv", "--url", NOBODY, "--patience", "1s"]).code(EXIT_EARLY).says("no limit");
}
