//! The pace, as the desk's own log saw it.
//!
//! The rate is that between the first and the last request of the log. These tests have the machine to
//! themselves among the tests, but not among its users: a stall is time lost by design, so a rate that was
//! reached in one of three tries counts as reached. Too fast is too fast in any of them.

#![expect(clippy::cast_precision_loss, reason = "requests are far fewer than 2^52")]

use std::sync::{Arc, Barrier, Mutex};
use std::time::Instant;

use deskload::error::EXIT_DONE;

use crate::support::peer::{success, tls_file};
use crate::support::{Bench, Peer};

/// Of the target, what is reached; a debug build on a busy machine wakes up late.
const LEAST: f64 = if cfg!(debug_assertions) { 0.97 } else { 0.99 };

/// Runs so many rows at so many a second.
fn keeps(target: u32, burst: u32, rows: u64) {
    let mut bench = Bench::alone();
    let mut rates = Vec::new();
    for machine in 0..3 {
        // With a state of its own: what is left of the last try's budget is none of this one's concern.
        bench.move_to(format!("machine-{machine}"));
        let before = bench.seen().len();
        let first = 1_000 + before as u64;
        bench.rows(first..first + rows);
        bench
            .run(&["run", "rows.csv", "--rate", &format!("{target}/s"), "--concurrency", "16"])
            .code(EXIT_DONE);
        let times: Vec<f64> = bench.seen().iter().skip(before).map(|seen| seen.at).collect();
        assert_eq!(times.len() as u64, rows);
        let worst = worst_second(&times);
        let most = f64::from(target + burst) * 1.01;
        assert!(
            worst as f64 <= most.ceil(),
            "{worst} in one second, of {target} a second and a burst of {burst}"
        );
        rates.push((rows - 1) as f64 / (times[times.len() - 1] - times[0]));
        if rates.iter().any(|rate| *rate >= LEAST * f64::from(target)) {
            return;
        }
    }
    panic!("{target} a second was not reached: {rates:.1?}");
}

fn worst_second(times: &[f64]) -> usize {
    (0..times.len())
        .map(|start| times[start..].iter().take_while(|time| **time < times[start] + 1.0).count())
        .max()
        .unwrap_or(0)
}

#[test]
fn one_and_ten_a_second_are_kept() {
    keeps(1, 1, 4);
    keeps(10, 2, 30);
}

#[test]
fn twenty_a_second_are_kept() {
    keeps(20, 2, 60);
}

#[test]
fn two_hundred_a_second_are_kept() {
    keeps(200, 2, 600);
}

#[test]
#[cfg_attr(
    debug_assertions,
    ignore = "a debug build is too slow; cargo test --release --test promises -- rate"
)]
fn a_thousand_a_second_are_kept() {
    keeps(1_000, 5, 3_000);
}

#[test]
#[cfg_attr(
    debug_assertions,
    ignore = "a debug build is too slow; cargo test --release --test promises -- rate"
)]
fn five_thousand_a_second_are_kept() {
    keeps(5_000, 25, 15_000);
}

#[test]
fn of_several_rates_the_slowest_holds() {
    let bench = Bench::alone();
    bench.rows(1..=40);
    bench.run(&["run", "rows.csv", "--rate", "20/s,100/s"]).code(EXIT_DONE);
    assert!(bench.judge().worst_second <= 23, "{}", bench.judge().worst_second);
    assert!(bench.judge().steady_rate().unwrap() <= 21.0);
}

#[test]
fn a_burst_leaves_at_once_and_no_more() {
    let bench = Bench::alone();
    bench.rows(1..=30);
    bench.run(&["run", "rows.csv", "--rate", "20/s", "--burst", "10"]).code(EXIT_DONE);
    let times: Vec<f64> = bench.seen().iter().map(|seen| seen.at).collect();
    // Twenty more at twenty a second after the ten that may leave at once.
    assert!(times[29] - times[0] >= 0.95, "{times:?}");
    assert!(worst_second(&times) <= 31);
    assert!(worst_second(&times) >= 25, "the burst left at once: {times:?}");
}

/// A proxy or a name server that was stuck lets several connections come about at one moment. Requests that had spent
/// their turn before would leave at that moment, too.
#[test]
fn connections_that_come_late_and_together_make_no_burst() {
    let (all_have_come, times) = (Barrier::new(8), Arc::<Mutex<Vec<f64>>>::default());
    let (began, arrivals) = (Instant::now(), Arc::clone(&times));
    let peer = Peer::start(move |visit| {
        if visit.connection <= 8 {
            all_have_come.wait();
        }
        let Some(mut visit) = visit.tls("desk") else { return };
        while let Some(request) = visit.request() {
            arrivals.lock().unwrap().push(began.elapsed().as_secs_f64());
            visit.say(success(request.ticket));
        }
    });
    let bench = Bench::alone().set("DESKLOAD_URL", &peer.https_url());
    bench.rows(1..=50);
    let authority = tls_file("authority.pem");
    let args = ["run", "rows.csv", "--yes", "--rate", "20/s", "--concurrency", "8", "--ca-file"];
    bench.run(&[&args[..], &[authority.to_str().unwrap()]].concat()).code(EXIT_DONE);
    let times = times.lock().unwrap();
    assert_eq!(times.len(), 50);
    assert!(peer.connections() >= 8, "they were all waited for");
    let worst = worst_second(&times);
    assert!(worst <= 23, "{worst} in one second, of 20 a second and a burst of 2: {times:.3?}");
}

#[test]
fn no_more_than_concurrency_are_under_way_at_once() {
    use std::time::Duration;
    let wait = Duration::from_millis(50);
    let latency = deskload::sandbox::options::Latency { min: wait, max: wait };
    let bench = Bench::with(|options| options.latency = latency);
    bench.rows(1..=60);
    bench.run(&["run", "rows.csv", "--concurrency", "6"]).code(EXIT_DONE);
    let times: Vec<f64> = bench.seen().iter().map(|seen| seen.at).collect();
    for window in times.windows(7) {
        // Each takes 50 ms from its arrival on, so the seventh cannot arrive before the first is answered.
        assert!(window[6] - window[0] >= wait.as_secs_f64(), "{window:?}");
    }
}

#[test]
fn f56_machine_sleeps() {
    let bench = Bench::alone();
    bench.rows(1..=80);
    let mut program = bench.start(&["run", "rows.csv", "--rate", "20/s"]);
    bench.await_requests(&mut program, 20);
    program.stop();
    // The fault itself, and no wait for anything: two seconds in which forty rows would have been due.
    std::thread::sleep(std::time::Duration::from_secs(2));
    program.signal(rustix::process::Signal::CONT);
    program.finish().code(EXIT_DONE);
    let times: Vec<f64> = bench.seen().iter().map(|seen| seen.at).collect();
    assert_eq!((times.len(), bench.judge().applied_twice), (80, 0));
    let slept = times.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
    assert!(slept >= 1.9, "it stood still for {slept} s: {times:?}");
    let worst = worst_second(&times);
    assert!(worst <= 23, "{worst} in one second after it stood still");
}
