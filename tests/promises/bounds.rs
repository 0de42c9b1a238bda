//! An invocation ends early at a limit, after a time or outside its window, and the same command goes on; a guard
//! refuses an input before anything is sent.

use deskload::error::{EXIT_ATTENTION, EXIT_DONE, EXIT_EARLY, EXIT_GUARD};
use deskload::sandbox::{Fate, Reply, When};

use crate::support::{Bench, csv};

#[test]
fn a_limit_sends_so_many_rows_and_the_same_command_goes_on() {
    let bench = Bench::new();
    bench.rows(1..=35);
    for applied in [10, 20, 30] {
        let said = bench.run(&["run", "rows.csv", "--limit", "10"]).code(EXIT_EARLY);
        said.says("--limit 10 is reached").says("to go on: deskload run rows.csv --limit 10");
        assert_eq!(bench.counts(1), [applied, 0, 0, 0, 0, 35 - applied]);
    }
    bench.run(&["run", "rows.csv", "--limit", "10"]).code(EXIT_DONE);
    assert_eq!((bench.judge().applied, bench.judge().applied_twice), (35, 0));
}

#[test]
fn a_row_that_has_to_go_again_counts_once_toward_the_limit() {
    let later = Reply::status(429).header("retry-after", "1");
    let bench = Bench::scripted([Fate::new(When::Request(2), later)]);
    bench.rows(1..=6);
    bench.run(&["run", "rows.csv", "--limit", "3", "--concurrency", "1"]).code(EXIT_EARLY);
    assert_eq!(bench.counts(1), [3, 0, 0, 0, 0, 3]);
    assert_eq!(bench.judge().requests, 4);
}

#[test]
fn a_limit_that_is_just_enough_is_no_early_end() {
    let bench = Bench::scripted([Fate::new(When::Ticket(2), Reply::status(404))]);
    bench.rows(1..=3);
    bench.run(&["run", "rows.csv", "--limit", "3"]).code(EXIT_ATTENTION);
    assert_eq!(bench.counts(1), [2, 1, 0, 0, 0, 0]);
}

#[test]
fn time_that_is_up_drains_and_the_same_command_goes_on() {
    let bench = Bench::new();
    bench.rows(1..=400);
    let said = bench.run(&["run", "rows.csv", "--rate", "100/s", "--max-duration", "1s"]).code(EXIT_EARLY);
    said.says("--max-duration 1s is over").says("to go on: deskload run rows.csv");
    let [applied, .., pending] = bench.counts(1);
    assert!(applied > 0 && pending > 0, "{applied} applied, {pending} pending");
    assert_eq!(bench.desk().requests, applied, "what was under way was waited for");
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    assert_eq!((bench.judge().applied, bench.judge().applied_twice), (400, 0));
}

#[test]
fn nothing_is_sent_outside_the_window() {
    let bench = Bench::new();
    bench.rows(1..=3);
    let now = jiff::Timestamp::now().to_zoned_datetime(jiff::tz::TimeZone::get("Asia/Tokyo").unwrap());
    let at = |hours: i64| {
        now.checked_add(jiff::SignedDuration::from_hours(hours)).unwrap().strftime("%H:%M").to_string()
    };
    let (closed, open) = (format!("{}-{}", at(3), at(5)), format!("{}-{}", at(-1), at(5)));
    let said =
        bench.run(&["run", "rows.csv", "--window", &closed, "--time-zone", "Asia/Tokyo"]).code(EXIT_EARLY);
    said.says("is closed; it opens at").says("JST");
    assert_eq!(bench.desk().requests, 0);
    bench.run(&["run", "rows.csv", "--window", &open, "--time-zone", "Asia/Tokyo"]).code(EXIT_DONE);
    assert_eq!(bench.judge().applied, 3);
    bench.run(&["run", "rows.csv", "--time-zone", "Mars/Base"]).code(2).says("Europe/Berlin");
}

#[test]
fn guards_refuse_a_new_input_before_anything_is_sent() {
    let bench = Bench::new();
    bench.file("empty.csv", "ticket_id,subject\n");
    let said = bench.run(&["run", "empty.csv", "--expect-rows", "1.."]).code(EXIT_GUARD);
    said.says("the input has 0 rows, and --expect-rows says 1..");
    bench.file("rows.csv", csv(1..=30));
    bench.run(&["run", "rows.csv", "--max-updates", "29"]).code(EXIT_GUARD).says("30 rows would be sent");
    bench.run(&["run", "rows.csv", "--expect-rows", "..29"]).code(EXIT_GUARD);
    assert_eq!(bench.desk().requests, 0);
    bench.run(&["status"]).code(2);
    bench.run(&["run", "rows.csv", "--expect-rows", "25..35", "--max-updates", "30"]).code(EXIT_DONE);
    assert_eq!(bench.judge().applied, 30);
}
