//! A desk that asks to come back later is left alone for so long, by every request; then the run goes on.

use std::time::{Duration, SystemTime};

use deskload::error::{EXIT_DONE, EXIT_EARLY};
use deskload::sandbox::{Fate, Reply, When};

use crate::support::{Bench, NOBODY, Seen};

/// The requests up to the one with this status, and those after it.
fn around(bench: &Bench, status: u64) -> (Seen, Vec<Seen>) {
    let seen = bench.seen();
    let at = seen.iter().position(|seen| seen.status == status).unwrap();
    (seen[at].clone(), seen[at + 1..].to_vec())
}

/// At its tenth request the desk gives this reply, which asks for two seconds.
fn pauses(reply: Reply) {
    let bench = Bench::scripted([Fate::new(When::Request(10), reply)]);
    bench.rows(1..=40);
    bench.run(&["run", "rows.csv", "--rate", "200/s", "--concurrency", "8"]).code(EXIT_DONE);
    let seen = bench.seen();
    let times: Vec<f64> = seen.iter().skip(9).map(|seen| seen.at).collect();
    // At most the seven others that had left before the reply was read arrive before the pause.
    let quiet = times.windows(2).position(|pair| pair[1] - pair[0] >= 1.9);
    assert!(quiet.is_some_and(|late| late <= 7), "{times:?}");
    assert!(times[quiet.unwrap() + 1] - times[0] >= 2.0, "{times:?}");
    assert_eq!(bench.counts(1), [40, 0, 0, 0, 0, 0]);
    assert_eq!((bench.judge().applied, bench.judge().applied_twice), (40, 0));
    assert_eq!(bench.summary(1)["throttled"], 1);
    assert_eq!(bench.summary(1)["attempts"], 41);
}

#[test]
fn a_429_with_retry_after_pauses_every_request() {
    pauses(Reply::error(429, "Too many requests").header("retry-after", "2"));
}

#[test]
fn a_503_with_retry_after_pauses_every_request() {
    pauses(Reply::status(503).header("retry-after", "2"));
}

#[test]
fn a_429_may_name_its_wait_as_neighbours_do() {
    pauses(Reply::status(429).header("x-ratelimit-retry-after", "2"));
}

#[test]
fn retry_after_may_be_a_date() {
    let then = SystemTime::now() + Duration::from_secs(4);
    let date = httpdate::fmt_http_date(then);
    let bench =
        Bench::scripted([Fate::new(When::Request(3), Reply::status(429).header("retry-after", &date))]);
    bench.rows(1..=6);
    bench.run(&["run", "rows.csv", "--concurrency", "1"]).code(EXIT_DONE);
    let (_, after) = around(&bench, 429);
    let then = httpdate::parse_http_date(&date).unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    for seen in &after {
        assert!(seen.at >= then.as_secs_f64(), "{} before {date}", seen.at);
    }
    assert_eq!(after.len(), 4);
}

#[test]
fn a_date_in_the_past_is_now_and_junk_is_our_own_backoff() {
    let fate =
        |request, value| Fate::new(When::Request(request), Reply::status(429).header("retry-after", value));
    let bench = Bench::scripted([
        fate(2, "Fri, 24 Jul 2020 12:00:00 GMT"),
        fate(4, "soon"),
        fate(6, "-5"),
        fate(8, "12junk"),
    ]);
    bench.rows(1..=6);
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    assert_eq!(bench.summary(1)["throttled"], 4);
    assert_eq!(bench.judge().applied_twice, 0);
}

#[test]
fn a_pause_over_max_wait_ends_the_run_and_says_when_to_come_back() {
    for wait in ["3600", "99999999999999999999"] {
        let bench =
            Bench::scripted([Fate::new(When::Request(3), Reply::status(429).header("retry-after", wait))]);
        bench.rows(1..=6);
        let ended =
            bench.run(&["run", "rows.csv", "--concurrency", "1", "--max-wait", "2m"]).code(EXIT_EARLY);
        let ended = ended.says("--max-wait is 2m").says("to go on: deskload run rows.csv");
        match wait {
            "3600" => ended.says("come back in 1h 0m").says(":").says(" UTC"),
            _ => ended.says("later than can be counted"),
        };
        assert_eq!(bench.counts(1), [2, 0, 0, 0, 0, 4]);
        assert_eq!(bench.desk().requests, 3);
        bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
        assert_eq!(bench.judge().applied_twice, 0);
    }
}

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
