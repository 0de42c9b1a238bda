//! Old runs give up their rows and nothing else: no promise depends on when somebody tidies up.

use deskload::error::{EXIT_ATTENTION, EXIT_DONE, EXIT_EARLY, EXIT_USAGE};
use deskload::sandbox::{Fate, Reply, When};
use serde_json::Value;

use super::homes::{Folder, Home, Hosted, home};
use super::newer::{applied, refusing};
use super::on_both;
use crate::prune::ALL;
use crate::support::{Bench, closing_time, one_at_a_time};

on_both!(
    Folder, Hosted:
    only_what_is_old_enough_goes_and_ninety_days_are_usual,
    the_counts_stay_right_and_the_number_is_never_used_again,
    the_rows_of_a_pruned_run_are_asked_for_in_vain_with_a_way_on,
    the_file_of_a_pruned_night_is_known_again,
    a_failures_file_of_a_pruned_night_never_overwrites_newer_data,
    an_older_run_that_goes_on_after_a_prune_never_overwrites_newer_data,
    a_row_that_a_person_said_to_leave_is_left_after_a_prune,
);

/// Runs 1 and 2, nights of the same tickets; a row of the first has failed.
fn two_nights(bench: &Bench) {
    bench.file("a.csv", "ticket_id,staff\n1,A\n2,A\n3,A\n");
    bench.run(&["run", "a.csv"]).code(EXIT_ATTENTION);
    bench.file("b.csv", "ticket_id,staff\n1,B\n2,B\n");
    bench.run(&["run", "b.csv"]).code(EXIT_DONE);
}

fn only_what_is_old_enough_goes_and_ninety_days_are_usual<H: Home>() {
    let home = home!(H, refusing(2));
    let bench = home.bench();
    two_nights(bench);
    bench
        .run(&["runs", "prune"])
        .code(EXIT_DONE)
        .says("pruned 0 runs, 0 rows")
        .says("kept 2 worked on in the last 90 days");
    home.age(1, 89);
    bench.run(&["runs", "prune"]).code(EXIT_DONE).says("pruned 0 runs");
    home.age(1, 1);
    bench
        .run(&["runs", "prune", "--dry-run"])
        .code(EXIT_DONE)
        .says("would prune 1 run, 2 rows; nothing was changed");
    assert_eq!((home.rows(), home.texts()), (5, 1));
    // Row 3 was the last to set the owner of its ticket; row 1 was not, and row 2 had failed.
    bench.run(&["runs", "prune"]).code(EXIT_DONE).says("pruned 1 run, 2 rows").says("kept 1 worked on");
    assert_eq!((home.rows(), home.texts()), (3, 0), "the copy of the input goes with them");
    let quiet = bench.run(&["runs", "prune", "-q", "--older-than", "12w"]).code(EXIT_DONE);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""), "cron sends no mail");
    bench.run(&["runs", "prune", "--older-than", "soon"]).code(EXIT_USAGE).says("such as 90d");
    assert_eq!(bench.desk().requests, 5);
}

fn the_counts_stay_right_and_the_number_is_never_used_again<H: Home>() {
    let home = home!(H, refusing(2));
    let bench = home.bench();
    two_nights(bench);
    let before: Value = serde_json::from_str(&bench.run(&["runs", "--json"]).stdout).unwrap();
    bench.run(&ALL).code(EXIT_DONE);
    let after: Value = serde_json::from_str(&bench.run(&["runs", "--json"]).stdout).unwrap();
    for run in 0..2 {
        assert_eq!(after["runs"][run]["counts"], before["runs"][run]["counts"]);
        assert_eq!(after["runs"][run]["state"], "pruned");
        assert!(after["runs"][run]["pruned_at"].is_string());
    }
    let status = bench.run(&["status", "1"]).code(EXIT_DONE);
    assert!(status.stdout.contains("its rows were pruned on 20"), "{}", status.stdout);
    bench.rows([9]);
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    assert_eq!(bench.summary(3)["run"], 3);
}

fn the_rows_of_a_pruned_run_are_asked_for_in_vain_with_a_way_on<H: Home>() {
    let home = home!(H, refusing(2));
    let bench = home.bench();
    two_nights(bench);
    let failures = bench.read("deskload-reports/run-1/failures.csv");
    bench.run(&ALL).code(EXIT_DONE);
    for args in [&["report", "1"][..], &["retry", "1"], &["resume", "1"]] {
        bench.run(args).code(EXIT_USAGE).says("the rows of run 1 were pruned on 20").says("run FILE --again");
    }
    bench.run(&["retry"]).code(EXIT_USAGE).says("no run has failed rows");
    assert_eq!(bench.read("deskload-reports/run-1/failures.csv"), failures, "what was written stays");
    assert_eq!(bench.desk().requests, 5);
}

fn the_file_of_a_pruned_night_is_known_again<H: Home>() {
    let home = home!(H, refusing(2));
    let bench = home.bench();
    bench.file("a.csv", "ticket_id,staff\n1,A\n2,A\n");
    bench.run(&["run", "a.csv"]).code(EXIT_ATTENTION);
    let (failures, summary) = (bench.read("deskload-reports/run-1/failures.csv"), bench.summary(1));
    bench.run(&ALL).code(EXIT_DONE);
    let again = bench.run(&["run", "a.csv"]).code(EXIT_ATTENTION);
    again.says("nothing left to send").says("1 failed").says("--again sends the whole file anew");
    assert_eq!((bench.read("deskload-reports/run-1/failures.csv"), bench.summary(1)), (failures, summary));
    assert_eq!(bench.desk().requests, 2);
    // Nights A, B, A: the desk has changed since, so it is a new run.
    bench.file("b.csv", "ticket_id,staff\n1,B\n");
    bench.run(&["run", "b.csv"]).code(EXIT_DONE);
    bench.run(&ALL).code(EXIT_DONE);
    bench.run(&["run", "a.csv"]).code(EXIT_DONE);
    assert_eq!(bench.counts(3), [2, 0, 0, 0, 0, 0]);
}

fn a_failures_file_of_a_pruned_night_never_overwrites_newer_data<H: Home>() {
    let home = home!(H, refusing(2));
    let bench = home.bench();
    two_nights(bench);
    bench.file("back.csv", bench.read("deskload-reports/run-1/failures.csv").replace("2,A", "2,C"));
    bench.run(&ALL).code(EXIT_DONE);
    bench.run(&["run", "back.csv"]).code(EXIT_DONE);
    assert_eq!(bench.counts(3), [0, 0, 0, 0, 1, 0]);
    assert_eq!(applied(bench, 2), [r#"{"staff":"B"}"#]);
}

fn an_older_run_that_goes_on_after_a_prune_never_overwrites_newer_data<H: Home>() {
    let home = home!(H, Bench::scripted([closing_time(2)]));
    let bench = home.bench();
    bench.file("old.csv", "ticket_id,staff\n1,A\n2,A\n3,A\n");
    bench.run(&one_at_a_time("old.csv", &[])).code(EXIT_EARLY);
    for owner in ["B", "C"] {
        bench.file("new.csv", format!("ticket_id,staff\n2,{owner}\n"));
        bench.run(&["run", "new.csv"]).code(EXIT_DONE);
    }
    bench.run(&ALL).code(EXIT_DONE).says("pruned 2 runs, 1 row").says("kept 1 unfinished");
    bench.run(&["resume", "1"]).code(EXIT_DONE);
    assert_eq!(bench.counts(1), [2, 0, 0, 0, 1, 0]);
    assert_eq!(applied(bench, 2), [r#"{"staff":"B"}"#, r#"{"staff":"C"}"#]);
}

fn a_row_that_a_person_said_to_leave_is_left_after_a_prune<H: Home>() {
    let home = home!(H, Bench::scripted([Fate::new(When::Ticket(2), Reply::status(500)).applied()]));
    let bench = home.bench();
    bench.file("rows.csv", "ticket_id,staff\n1,A\n2,A\n");
    bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION);
    bench.file("back.csv", bench.read("deskload-reports/run-1/in-doubt.csv"));
    bench
        .run(&ALL)
        .code(EXIT_DONE)
        .says("pruned 0 runs")
        .says("kept 1 with rows in doubt (deskload resolve)");
    bench.run(&["resolve", "1", "--skip"]).code(EXIT_DONE);
    bench.run(&ALL).code(EXIT_DONE).says("pruned 1 run, 0 rows");
    bench.run(&["run", "back.csv"]).code(EXIT_DONE);
    assert_eq!(bench.counts(2), [0, 0, 0, 0, 1, 0]);
    assert_eq!(bench.desk().requests, 2);
}
