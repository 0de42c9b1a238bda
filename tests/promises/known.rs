//! Bytes seen before: gone on with, refused for another mapping, nothing left to do, or a new run.

use deskload::error::{EXIT_ATTENTION, EXIT_DONE, EXIT_EARLY, EXIT_USAGE};
use deskload::sandbox::{Fate, Reply, When};

use crate::support::{Bench, closing_time, csv, one_at_a_time};

/// A run of six rows that has stopped before its third.
fn unfinished() -> Bench {
    let bench = Bench::scripted([closing_time(3)]);
    bench.rows(1..=6);
    bench.run(&one_at_a_time("rows.csv", &[])).code(EXIT_EARLY);
    assert_eq!(bench.counts(1), [2, 0, 0, 0, 0, 4]);
    bench
}

#[test]
fn an_unfinished_run_goes_on_where_it_stopped() {
    let bench = unfinished();
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    assert_eq!(bench.counts(1), [6, 0, 0, 0, 0, 0]);
    let judge = bench.judge();
    assert_eq!((judge.applied, judge.applied_twice, judge.requests), (6, 0, 7));
}

#[test]
fn resume_goes_on_too_and_knows_desk_account_and_mapping() {
    let bench = Bench::scripted([closing_time(3)]);
    bench.rows(1..=6);
    bench.run(&one_at_a_time("rows.csv", &["--set", "priority=high"])).code(EXIT_EARLY);
    let bench = bench.unset("DESKLOAD_URL").unset("DESKLOAD_ACCOUNT_EMAIL");
    bench.run(&["resume"]).code(EXIT_DONE);
    assert_eq!(bench.judge().order(6), [r#"{"subject":"row 6","priority":"high"}"#.into()]);
    bench.run(&["resume"]).code(EXIT_USAGE).says("no run is unfinished");
}

/// Otherwise the newer one would seem to be the older one, and be sent anew.
#[test]
fn resume_of_a_finished_run_does_nothing_and_does_not_make_it_newer() {
    let bench = Bench::new();
    bench.rows(1..=6);
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    bench.file("newer.csv", "ticket_id,staff\n1,A\n");
    bench.run(&["run", "newer.csv"]).code(EXIT_DONE);
    bench.run(&["resume", "1"]).code(EXIT_DONE).says("nothing left to do");
    bench.run(&["run", "newer.csv"]).code(EXIT_DONE).says("nothing left to do");
    assert_eq!(bench.judge().requests, 7);
}

#[test]
fn a_finished_input_leaves_nothing_to_do() {
    let bench = Bench::new();
    bench.rows(1..=6);
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    std::fs::rename(bench.path("rows.csv"), bench.path("other.csv")).unwrap();
    bench.run(&["run", "other.csv"]).code(EXIT_DONE).says("nothing left to do");
    bench.pipe(&csv(1..=6), &["run", "-"]).code(EXIT_DONE).says("nothing left to do");
    assert_eq!(bench.desk().requests, 6, "an input is known by its bytes");
}

#[test]
fn a_finished_input_with_failed_rows_says_so_again() {
    let bench = Bench::scripted([Fate::new(When::Ticket(2), Reply::status(404))]);
    bench.rows(1..=3);
    bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION);
    bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION).says("nothing left to send").says("1 failed");
    assert_eq!(bench.desk().requests, 3);
}

#[test]
fn another_mapping_is_refused_while_a_run_is_unfinished() {
    let bench = unfinished();
    bench
        .run(&["run", "rows.csv", "--set", "priority=high", "--ignore-unknown"])
        .code(EXIT_USAGE)
        .says("--set priority=high was not given when the run was started")
        .says("--ignore-unknown was not given")
        .says("deskload resume 1")
        .says("--again");
    bench.run(&["run", "rows.csv", "--delimiter", ";"]).code(EXIT_USAGE).says("--delimiter");
    assert_eq!(bench.desk().requests, 3, "nothing was sent");
    bench.run(&["run", "rows.csv", "--rate", "100/s"]).code(EXIT_DONE).never_says("started otherwise");
}

#[test]
fn again_starts_anew_or_goes_on_with_what_again_began() {
    let bench = Bench::scripted([closing_time(5)]);
    bench.rows(1..=3);
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    bench.run(&one_at_a_time("rows.csv", &["--again"])).code(EXIT_EARLY);
    assert_eq!(bench.counts(2), [1, 0, 0, 0, 0, 2]);
    bench.run(&["run", "rows.csv", "--again"]).code(EXIT_DONE);
    assert_eq!(bench.counts(2), [3, 0, 0, 0, 0, 0]);
    assert!(!bench.path("deskload-reports/run-3").exists());
    assert_eq!(bench.desk().applied, 6);
    // With another mapping, an unfinished run is no hindrance.
    let bench = {
        drop(bench);
        unfinished()
    };
    bench.run(&["run", "rows.csv", "--again", "--set", "priority=low"]).code(EXIT_DONE);
    assert_eq!(bench.counts(2), [6, 0, 0, 0, 0, 0]);
}

#[test]
fn f66_same_night_again_after_another() {
    let bench = Bench::new();
    bench.file("a.csv", "ticket_id,staff\n7,ST1\n");
    bench.file("b.csv", "ticket_id,staff\n7,ST2\n");
    for (night, file) in (1..).zip(["a.csv", "b.csv", "a.csv"]) {
        bench.run(&["run", file]).code(EXIT_DONE);
        assert_eq!(bench.counts(night), [1, 0, 0, 0, 0, 0]);
    }
    let staff: Vec<_> = bench.seen().iter().map(|seen| seen.change["staff"].clone()).collect();
    assert_eq!(staff, ["ST1", "ST2", "ST1"]);
    bench.run(&["run", "a.csv"]).code(EXIT_DONE).says("nothing left to do");
}

#[test]
fn a_night_between_whose_rows_were_settled_by_a_person_may_have_changed_the_desk() {
    for (word, counts) in [("--skip", [0, 0, 0, 0, 1, 0]), ("--applied", [1, 0, 0, 0, 0, 0])] {
        // The desk has it, whatever the person says.
        let bench = Bench::scripted([Fate::new(When::Request(2), Reply::status(500)).applied()]);
        bench.file("a.csv", "ticket_id,staff\n7,ST1\n");
        bench.file("b.csv", "ticket_id,staff\n7,ST2\n");
        bench.run(&["run", "a.csv"]).code(EXIT_DONE);
        bench.run(&["run", "b.csv"]).code(EXIT_ATTENTION);
        bench.run(&["resolve", word]).code(EXIT_DONE);
        bench.run(&["report", "2", "-q"]).code(EXIT_DONE);
        assert_eq!(bench.counts(2), counts);
        bench.run(&["run", "a.csv"]).code(EXIT_DONE).never_says("nothing left");
        assert_eq!(bench.counts(3), [1, 0, 0, 0, 0, 0], "{word}");
        bench.run(&["run", "a.csv"]).code(EXIT_DONE).says("nothing left to do");
    }
}

#[test]
fn a_night_between_of_which_the_desk_refused_all_has_changed_nothing() {
    let bench = Bench::scripted([Fate::new(When::Request(2), Reply::status(404))]);
    bench.file("a.csv", "ticket_id,staff\n7,ST1\n");
    bench.file("b.csv", "ticket_id,staff\n7,ST2\n");
    bench.run(&["run", "a.csv"]).code(EXIT_DONE);
    bench.run(&["run", "b.csv"]).code(EXIT_ATTENTION);
    bench.run(&["run", "a.csv"]).code(EXIT_DONE).says("nothing left to do");
}

#[test]
fn f24_input_changed_under_an_unfinished_run() {
    let bench = unfinished();
    bench.file("rows.csv", "ticket_id,subject\n9,new\n");
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE).says("deskload resume 1");
    assert_eq!(bench.summary(2)["unfinished_before"], 1);
    assert_eq!(bench.judge().order(9), [r#"{"subject":"new"}"#.into()]);
    assert_eq!(bench.judge().order(6).len(), 0, "the old run was not touched");
}

#[test]
fn f64_input_edited_or_removed_between_invocations() {
    let bench = unfinished();
    bench.file("rows.csv", "ticket_id,subject\n3,edited\n4,edited\n5,edited\n6,edited\n");
    bench.run(&["resume", "1"]).code(EXIT_DONE);
    assert_eq!(bench.judge().order(4), [r#"{"subject":"row 4"}"#.into()]);
    let bench = {
        drop(bench);
        unfinished()
    };
    std::fs::remove_file(bench.path("rows.csv")).unwrap();
    bench.run(&["resume"]).code(EXIT_DONE);
    assert_eq!(bench.counts(1), [6, 0, 0, 0, 0, 0]);
}

#[test]
fn standard_input_can_be_resumed() {
    let bench = Bench::scripted([closing_time(3)]);
    let args = one_at_a_time("-", &[]);
    bench.pipe(&csv(1..=6), &args).code(EXIT_EARLY).says("to go on: deskload resume");
    assert!(bench.summary(1)["input"]["path"].is_null());
    bench.run(&["resume"]).code(EXIT_DONE);
    assert_eq!((bench.judge().applied, bench.judge().applied_twice), (6, 0));
}

#[test]
fn the_failures_of_a_pipe_that_resume_has_finished_go_through_the_command_that_is_told() {
    let bench = Bench::scripted([closing_time(2)]);
    let args = one_at_a_time("-", &["--map", "ticket_id=Case No", "--map=subject=Text", "--ignore-unknown"]);
    let rows = "Case No,Text,Seen\n1,a,x\n2,b,x\n#3,c,x\n4,d,x\n";
    let resume = told(&bench.pipe(rows, &args).code(EXIT_EARLY).stderr, "to go on: ");
    assert!(resume.starts_with("deskload resume 1 --concurrency 1"), "{resume}");
    let again = told(&bench.run(&["report"]).code(EXIT_DONE).stderr, "to go on: ");
    assert_eq!(again, resume);
    let as_told = |command: &str| bench.shell(&command.replacen("deskload", "\"$DESKLOAD\"", 1), None);
    let correct = told(&as_told(&resume).code(EXIT_ATTENTION).stderr, "failures.csv, then: ");
    let failures = "deskload-reports/run-1/failures.csv";
    bench.file(failures, bench.read(failures).replace("#3", "3"));
    as_told(&correct).code(EXIT_DONE);
    assert_eq!(bench.judge().order(3), [r#"{"subject":"c"}"#.into()]);
    assert_eq!((bench.judge().applied, bench.judge().applied_twice), (4, 0));
}

/// What stands behind these words, to the end of the line.
fn told(text: &str, before: &str) -> String {
    let line = text.lines().find_map(|line| Some(line.split_once(before)?.1.to_owned()));
    line.unwrap_or_else(|| panic!("nothing is told behind {before:?}: {text}"))
}

#[test]
fn where_several_runs_fit_they_are_listed() {
    let bench = Bench::scripted([closing_time(2), closing_time(4)]);
    for (name, ticket) in [("one.csv", 10), ("two.csv", 20)] {
        bench.file(name, csv(ticket..ticket + 3));
        bench.run(&one_at_a_time(name, &[])).code(EXIT_EARLY);
    }
    bench.run(&["resume"]).code(EXIT_USAGE).says("one.csv").says("two.csv").says("2 pending");
    bench.run(&["resume", "7"]).code(EXIT_USAGE).says("there is no run 7");
    bench.run(&["resume", "2"]).code(EXIT_DONE);
    bench.run(&["resume"]).code(EXIT_DONE);
    assert_eq!(bench.judge().applied, 6);
}

#[test]
fn finished_bytes_with_another_mapping_are_a_new_run() {
    let bench = Bench::new();
    bench.rows(1..=3);
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    bench.run(&["run", "rows.csv", "--set", "priority=high"]).code(EXIT_DONE).never_says("nothing left");
    assert_eq!(bench.counts(2), [3, 0, 0, 0, 0, 0]);
    bench.run(&["run", "rows.csv", "--set", "priority=high"]).code(EXIT_DONE).says("nothing left to do");
    assert_eq!(bench.desk().requests, 6);
}

#[test]
fn an_older_run_that_goes_on_later_has_changed_the_desk() {
    let bench = Bench::scripted([closing_time(2)]);
    bench.file("a.csv", "ticket_id,staff\n1,ST1\n7,ST1\n");
    bench.file("b.csv", "ticket_id,staff\n7,ST2\n");
    bench.run(&one_at_a_time("a.csv", &[])).code(EXIT_EARLY);
    bench.run(&["run", "b.csv"]).code(EXIT_DONE);
    bench.run(&["run", "b.csv"]).code(EXIT_DONE).says("nothing left to do");
    // The journal's times are milliseconds: nothing lies between two invocations but a process start.
    bench.run(&["resume", "1"]);
    bench.run(&["run", "b.csv"]).code(EXIT_DONE).never_says("nothing left");
    assert_eq!(bench.counts(3), [1, 0, 0, 0, 0, 0]);
    bench.run(&["run", "b.csv"]).code(EXIT_DONE).says("nothing left to do");
}

#[test]
fn a_word_on_an_older_run_s_doubt_tells_of_what_was_there_before_the_newer_one() {
    let bench = Bench::scripted([Fate::new(When::Request(1), Reply::status(500)).applied()]);
    bench.file("b.csv", "ticket_id,staff\n7,ST1\n");
    bench.file("a.csv", "ticket_id,staff\n7,ST2\n");
    bench.run(&["run", "b.csv"]).code(EXIT_ATTENTION);
    bench.run(&["run", "a.csv"]).code(EXIT_DONE);
    bench.run(&["resolve", "1", "--applied"]).code(EXIT_DONE);
    bench.run(&["run", "a.csv"]).code(EXIT_DONE).says("nothing left to do");
    assert_eq!(bench.judge().order(7), [r#"{"staff":"ST1"}"#.into(), r#"{"staff":"ST2"}"#.into()]);
    // If the desk shows the older value all the same, the request arrived late, and a person says so.
    bench.run(&["run", "a.csv", "--again"]).code(EXIT_DONE).never_says("nothing left");
    assert_eq!(bench.counts(3), [1, 0, 0, 0, 0, 0]);
}

#[test]
fn an_older_run_that_was_killed_when_it_went_on_has_changed_the_desk() {
    let hang = Fate::new(When::Ticket(9), Reply::silence());
    let bench = Bench::scripted([closing_time(2), hang]);
    bench.file("a.csv", "ticket_id,staff\n1,ST1\n7,ST1\n9,ST1\n");
    bench.file("b.csv", "ticket_id,subject\n7,b\n");
    bench.run(&one_at_a_time("a.csv", &[])).code(EXIT_EARLY);
    bench.run(&["run", "b.csv"]).code(EXIT_DONE);
    let mut program = bench.start(&["resume", "1", "--concurrency", "1"]);
    bench.await_requests(&mut program, 5);
    program.signal(rustix::process::Signal::KILL);
    program.finish().code_none();
    bench.run(&["run", "b.csv"]).code(EXIT_DONE).never_says("nothing left");
    assert_eq!(bench.counts(3), [1, 0, 0, 0, 0, 0]);
}
