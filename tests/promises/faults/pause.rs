//! 40 and 41: a desk that asks to come back later is left alone for so long, by every request; then the run goes on.

use std::time::{Duration, SystemTime};

use deskload::error::{EXIT_DONE, EXIT_EARLY};
use deskload::sandbox::{Fate, Reply, When};

use crate::support::Bench;

/// At its tenth request the desk gives this reply, which asks for two seconds.
pub(super) fn pauses(reply: &Reply) {
    let bench = Bench::scripted([Fate::new(When::Request(10), reply.clone())]);
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
fn f40_429_with_retry_after() {
    pauses(&Reply::error(429, "Too many requests").header("retry-after", "2"));
}

#[test]
fn f40_429_that_names_its_wait_as_neighbours_do() {
    pauses(&Reply::status(429).header("x-ratelimit-retry-after", "2"));
}

#[test]
fn f41_retry_after_as_a_date() {
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(4));
    let bench =
        Bench::scripted([Fate::new(When::Request(3), Reply::status(429).header("retry-after", &date))]);
    bench.rows(1..=6);
    bench.run(&["run", "rows.csv", "--concurrency", "1"]).code(EXIT_DONE);
    let then = httpdate::parse_http_date(&date).unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seen = bench.seen();
    assert_eq!(seen.len(), 7);
    for seen in &seen[3..] {
        assert!(seen.at >= then.as_secs_f64(), "{} before {date}", seen.at);
    }
}

#[test]
fn f41_retry_after_in_the_past_negative_or_junk() {
    let values = ["Fri, 24 Jul 2020 12:00:00 GMT", "soon", "-5", "12junk", "", "1e9", "1.5e9"];
    let fate = |(value, request): (&&str, u64)| {
        Fate::new(When::Request(2 * request), Reply::status(429).header("retry-after", value))
    };
    let bench = Bench::scripted(values.iter().zip(1..).map(fate).collect::<Vec<_>>());
    bench.rows(1..=10);
    // Whoever took one of them for a number would have to stop here.
    let args = ["run", "rows.csv", "--concurrency", "1", "--max-wait", "1s", "--retries", "20"];
    bench.run(&args).code(EXIT_DONE);
    assert_eq!(bench.summary(1)["throttled"], values.len());
    assert_eq!((bench.judge().applied, bench.judge().applied_twice), (10, 0));
}

#[test]
fn f41_retry_after_over_max_wait() {
    let far = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(7_200));
    let waits = ["3600", "99999999999999999999", far.as_str()];
    for wait in waits {
        let closing = Reply::status(429).header("retry-after", wait);
        let bench = Bench::scripted([Fate::new(When::Request(3), closing)]);
        bench.rows(1..=6);
        let ended =
            bench.run(&["run", "rows.csv", "--concurrency", "1", "--max-wait", "2m"]).code(EXIT_EARLY);
        let ended = ended.says("--max-wait is 2m").says("to go on: deskload run rows.csv");
        match wait {
            "3600" => ended.says("come back in 1h 0m").says(":").says(" UTC"),
            "99999999999999999999" => ended.says("later than can be counted"),
            _ => ended.says("come back in ").says(" UTC"),
        };
        assert_eq!(bench.counts(1), [2, 0, 0, 0, 0, 4]);
        assert_eq!(bench.desk().requests, 3, "the desk was left alone");
    }
}
