//! Old rows never overwrite newer data: `retry`, files that come back, runs that newer ones have overtaken.

use deskload::error::{EXIT_ATTENTION, EXIT_DONE, EXIT_EARLY, EXIT_USAGE};
use deskload::sandbox::{Fate, Reply, When};

use super::homes::{Folder, Home, Hosted, home};
use super::on_both;
use crate::support::Bench;

on_both!(
    Folder, Hosted:
    retry_sends_the_failed_rows_again,
    a_failed_row_whose_fields_a_later_row_has_set_is_skipped,
    a_failed_row_that_a_newer_run_overlaps_in_part_stays_failed,
    fields_that_newer_runs_left_alone_do_not_stand_in_the_way,
    a_failed_row_waits_for_a_newer_row_in_doubt,
    f66_failures_file_from_an_old_night,
    a_failures_file_whose_row_was_retried_meanwhile_sends_nothing_twice,
    f65_in_doubt_file_or_corrected_original_as_a_new_input,
    an_in_doubt_file_that_comes_back_without_set_sends_nothing_twice,
    a_row_that_comes_back_in_part_waits_for_the_whole_that_is_going_to_be_sent,
    a_row_that_comes_back_with_other_values_is_sent,
    a_custom_field_is_the_same_however_its_id_is_cased,
    f24_older_run_resumed_after_a_newer_one,
    a_twin_in_doubt_elsewhere_holds_back_what_comes_after_it_and_not_what_came_before,
    rows_in_doubt_are_sent_again_only_if_somebody_said_so_beforehand,
    the_word_resend_reaches_rows_that_are_in_doubt_already,
    a_row_in_doubt_that_was_to_be_sent_again_is_in_doubt_until_it_is,
    an_attempt_that_comes_to_nothing_does_not_undo_a_doubt,
    a_doubt_that_newer_data_has_come_after_is_not_sent_again,
);

/// A desk that refuses this ticket once.
pub(super) fn refusing(ticket: u64) -> Bench {
    Bench::scripted([Fate::new(When::Ticket(ticket), Reply::error(200, "the ticket is locked"))])
}

/// What the desk has applied to a ticket, in its order.
pub(super) fn applied(bench: &Bench, ticket: u64) -> Vec<String> {
    bench.judge().order(ticket).iter().map(ToString::to_string).collect()
}

fn retry_sends_the_failed_rows_again<H: Home>() {
    let home = home!(H, refusing(2));
    let bench = home.bench();
    bench.file("rows.csv", "ticket_id,staff\n1,A\n2,A\n3,A\n");
    bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION);
    assert_eq!(bench.counts(1), [2, 1, 0, 0, 0, 0]);
    bench.run(&["retry"]).code(EXIT_DONE).says("1 row failed, tried again");
    assert_eq!(bench.counts(1), [3, 0, 0, 0, 0, 0]);
    assert_eq!(applied(bench, 2), [r#"{"staff":"A"}"#]);
    assert_eq!(bench.desk().requests, 4, "the other rows are left alone");
    bench.run(&["retry"]).code(EXIT_USAGE).says("no run has failed rows");
}

fn a_failed_row_whose_fields_a_later_row_has_set_is_skipped<H: Home>() {
    let home = home!(H, refusing(2));
    let bench = home.bench();
    bench.file("rows.csv", "ticket_id,staff,priority\n2,A,\n2,B,high\n");
    bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION);
    bench.run(&["retry"]).code(EXIT_DONE);
    assert_eq!(bench.counts(1), [1, 0, 0, 0, 1, 0]);
    assert_eq!(applied(bench, 2), [r#"{"staff":"B","priority":"high"}"#]);
}

fn a_failed_row_that_a_newer_run_overlaps_in_part_stays_failed<H: Home>() {
    let home = home!(H, refusing(2));
    let bench = home.bench();
    bench.file("old.csv", "ticket_id,staff,custom_fields.CF1,custom_fields.CF2\n2,A,x,y\n");
    bench.file("new.csv", "ticket_id,custom_fields.CF2\n2,z\n");
    bench.run(&["run", "old.csv"]).code(EXIT_ATTENTION);
    bench.run(&["run", "new.csv"]).code(EXIT_DONE);
    bench.run(&["retry", "1"]).code(EXIT_ATTENTION).says("some of its fields: run 2, row 1");
    assert_eq!(bench.counts(1), [0, 1, 0, 0, 0, 0]);
    assert_eq!(bench.summary(1)["reasons"][0]["reason"], "overlapped");
    assert_eq!(bench.desk().requests, 2, "nothing was sent for it");
}

fn fields_that_newer_runs_left_alone_do_not_stand_in_the_way<H: Home>() {
    let home = home!(H, refusing(2));
    let bench = home.bench();
    bench.file("old.csv", "ticket_id,custom_fields.CF1\n2,x\n");
    bench.file("new.csv", "ticket_id,custom_fields.CF2,staff\n2,z,B\n");
    bench.run(&["run", "old.csv"]).code(EXIT_ATTENTION);
    bench.run(&["run", "new.csv"]).code(EXIT_DONE);
    bench.run(&["retry", "1"]).code(EXIT_DONE);
    assert_eq!(bench.counts(1), [1, 0, 0, 0, 0, 0]);
}

fn a_failed_row_waits_for_a_newer_row_in_doubt<H: Home>() {
    let refused = Fate::new(When::Request(1), Reply::error(200, "the ticket is locked"));
    let home = home!(H, Bench::scripted([refused, Fate::new(When::Request(2), Reply::status(500))]));
    let bench = home.bench();
    bench.file("old.csv", "ticket_id,staff\n2,A\n");
    bench.file("new.csv", "ticket_id,priority\n2,high\n");
    bench.run(&["run", "old.csv"]).code(EXIT_ATTENTION);
    bench.run(&["run", "new.csv"]).code(EXIT_ATTENTION);
    bench.run(&["retry", "1"]).code(EXIT_ATTENTION).says("1 waiting behind rows in doubt");
    assert_eq!(bench.counts(1), [0, 0, 0, 0, 0, 1]);
    assert_eq!(bench.desk().requests, 2);
    bench.run(&["resolve", "2", "--skip"]).code(EXIT_DONE);
    bench.run(&["resume", "1"]).code(EXIT_DONE);
    assert_eq!(bench.counts(1), [1, 0, 0, 0, 0, 0]);
}

fn f66_failures_file_from_an_old_night<H: Home>() {
    let home = home!(H, refusing(2));
    let bench = home.bench();
    bench.file("monday.csv", "ticket_id,staff\n1,A\n2,A\n");
    bench.file("tuesday.csv", "ticket_id,staff\n1,B\n2,B\n");
    bench.run(&["run", "monday.csv"]).code(EXIT_ATTENTION);
    let failures = bench.read("deskload-reports/run-1/failures.csv");
    bench.run(&["run", "tuesday.csv"]).code(EXIT_DONE);
    bench.file("back.csv", failures.replace(",A,", ",C,").replace("2,A", "2,C"));
    bench.run(&["run", "back.csv"]).code(EXIT_DONE);
    assert_eq!(bench.counts(3), [0, 0, 0, 0, 1, 0]);
    assert_eq!(applied(bench, 2), [r#"{"staff":"B"}"#]);
}

fn a_failures_file_whose_row_was_retried_meanwhile_sends_nothing_twice<H: Home>() {
    let home = home!(H, refusing(2));
    let bench = home.bench();
    bench.file("rows.csv", "ticket_id,staff\n1,A\n2,A\n");
    bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION);
    bench.file("back.csv", bench.read("deskload-reports/run-1/failures.csv"));
    bench.run(&["retry"]).code(EXIT_DONE);
    bench.run(&["run", "back.csv"]).code(EXIT_DONE);
    assert_eq!(bench.counts(2), [0, 0, 0, 0, 1, 0]);
    assert_eq!(applied(bench, 2), [r#"{"staff":"A"}"#]);
}

fn f65_in_doubt_file_or_corrected_original_as_a_new_input<H: Home>() {
    let home = home!(H, Bench::scripted([Fate::new(When::Ticket(2), Reply::status(500)).applied()]));
    let bench = home.bench();
    bench.file("rows.csv", "ticket_id,staff\n1,A\n2,A\n");
    bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION);
    bench.file("back.csv", bench.read("deskload-reports/run-1/in-doubt.csv"));
    bench.run(&["run", "back.csv"]).code(EXIT_ATTENTION).says("1 waiting behind rows in doubt");
    bench.file("corrected.csv", "ticket_id,staff\n3,A\n2,A\n");
    bench.run(&["run", "corrected.csv"]).code(EXIT_ATTENTION);
    assert_eq!((bench.counts(2), bench.counts(3)), ([0, 0, 0, 0, 0, 1], [1, 0, 0, 0, 0, 1]));
    bench.run(&["resolve", "1", "--applied"]).code(EXIT_DONE);
    bench.run(&["resume", "2"]).code(EXIT_DONE);
    assert_eq!(bench.counts(2), [0, 0, 0, 0, 1, 0]);
    assert_eq!(applied(bench, 2), [r#"{"staff":"A"}"#]);
}

fn an_in_doubt_file_that_comes_back_without_set_sends_nothing_twice<H: Home>() {
    let home = home!(H, Bench::scripted([Fate::new(When::Ticket(2), Reply::status(500)).applied()]));
    let bench = home.bench();
    bench.file("rows.csv", "ticket_id,staff\n1,A\n2,A\n");
    bench.run(&["run", "rows.csv", "--set", "priority=high"]).code(EXIT_ATTENTION);
    bench.file("back.csv", bench.read("deskload-reports/run-1/in-doubt.csv"));
    bench.run(&["resolve", "1", "--applied"]).code(EXIT_DONE);
    bench.run(&["run", "back.csv"]).code(EXIT_DONE);
    assert_eq!(bench.counts(2), [0, 0, 0, 0, 1, 0]);
    assert_eq!(applied(bench, 2), [r#"{"staff":"A","priority":"high"}"#]);
}

fn a_row_that_comes_back_in_part_waits_for_the_whole_that_is_going_to_be_sent<H: Home>() {
    let home = home!(H, Bench::scripted([Fate::new(When::Ticket(2), Reply::status(500))]));
    let bench = home.bench();
    bench.file("rows.csv", "ticket_id,staff\n1,A\n2,A\n");
    bench.run(&["run", "rows.csv", "--set", "priority=high"]).code(EXIT_ATTENTION);
    bench.file("back.csv", bench.read("deskload-reports/run-1/in-doubt.csv"));
    bench.run(&["resolve", "1", "--resend"]).code(EXIT_DONE);
    bench.run(&["run", "back.csv"]).code(EXIT_ATTENTION);
    assert_eq!(bench.counts(2), [0, 0, 0, 0, 0, 1]);
    bench.run(&["resume", "1"]).code(EXIT_DONE);
    bench.run(&["resume", "2"]).code(EXIT_DONE);
    assert_eq!(bench.counts(2), [0, 0, 0, 0, 1, 0]);
    assert_eq!(applied(bench, 2), [r#"{"staff":"A","priority":"high"}"#]);
}

fn a_row_that_comes_back_with_other_values_is_sent<H: Home>() {
    let home = home!(H, Bench::scripted([Fate::new(When::Ticket(2), Reply::status(500)).applied()]));
    let bench = home.bench();
    bench.file("rows.csv", "ticket_id,staff\n1,A\n2,A\n");
    bench.run(&["run", "rows.csv", "--set", "priority=high"]).code(EXIT_ATTENTION);
    bench.file("back.csv", bench.read("deskload-reports/run-1/in-doubt.csv").replace("2,A", "2,B"));
    bench.run(&["resolve", "1", "--applied"]).code(EXIT_DONE);
    bench.run(&["run", "back.csv"]).code(EXIT_DONE);
    assert_eq!(applied(bench, 2), [r#"{"staff":"A","priority":"high"}"#, r#"{"staff":"B"}"#]);
}

fn a_custom_field_is_the_same_however_its_id_is_cased<H: Home>() {
    let refused = Fate::new(When::Request(1), Reply::error(200, "the ticket is locked"));
    let home = home!(H, Bench::scripted([refused]));
    let bench = home.bench();
    bench.file("old.csv", "ticket_id,custom_fields.CF1\n2,x\n");
    bench.file("new.csv", "ticket_id,custom_fields.cf1\n2,z\n");
    bench.run(&["run", "old.csv"]).code(EXIT_ATTENTION);
    bench.run(&["run", "new.csv"]).code(EXIT_DONE);
    bench.run(&["retry", "1"]).code(EXIT_DONE);
    assert_eq!(bench.counts(1), [0, 0, 0, 0, 1, 0]);
    assert_eq!(bench.desk().requests, 2, "the newer value stands");
}

fn f24_older_run_resumed_after_a_newer_one<H: Home>() {
    let away = Reply::status(429).header("retry-after", "1");
    let home = home!(H, Bench::scripted([Fate::new(When::Request(2), away)]));
    let bench = home.bench();
    bench.file("old.csv", "ticket_id,staff\n1,A\n2,A\n3,A\n");
    bench.file("new.csv", "ticket_id,staff\n2,B\n");
    bench.run(&["run", "old.csv", "--concurrency", "1", "--max-wait", "990ms"]).code(EXIT_EARLY);
    assert_eq!(bench.counts(1), [1, 0, 0, 0, 0, 2]);
    bench.run(&["run", "new.csv"]).code(EXIT_DONE);
    bench.run(&["resume", "1"]).code(EXIT_DONE);
    assert_eq!(bench.counts(1), [2, 0, 0, 0, 1, 0]);
    assert_eq!(applied(bench, 2), [r#"{"staff":"B"}"#]);
    assert_eq!(applied(bench, 3), [r#"{"staff":"A"}"#]);
}

fn a_twin_in_doubt_elsewhere_holds_back_what_comes_after_it_and_not_what_came_before<H: Home>() {
    let home = home!(H, Bench::scripted([Fate::new(When::Request(1), Reply::status(500))]));
    let bench = home.bench();
    bench.file("first.csv", "ticket_id,staff\n7,A\n");
    bench.run(&["run", "first.csv"]).code(EXIT_ATTENTION);
    bench.file("second.csv", "ticket_id,staff\n7,X\n7,Y\n8,Q\n7,A\n7,Z\n");
    bench
        .run(&["run", "second.csv"])
        .code(EXIT_ATTENTION)
        .says("2 waiting behind rows in doubt (run 1, row 1)");
    assert_eq!(bench.counts(2), [3, 0, 0, 0, 0, 2]);
    assert_eq!(applied(bench, 7), [r#"{"staff":"X"}"#, r#"{"staff":"Y"}"#]);
}

fn rows_in_doubt_are_sent_again_only_if_somebody_said_so_beforehand<H: Home>() {
    let home = home!(H, Bench::scripted([Fate::new(When::Ticket(2), Reply::close()).applied()]));
    let bench = home.bench();
    bench.file("rows.csv", "ticket_id,staff\n1,A\n2,A\n2,B\n");
    bench.run(&["run", "rows.csv", "--in-doubt", "resend"]).code(EXIT_DONE);
    assert_eq!(bench.counts(1), [3, 0, 0, 0, 0, 0]);
    assert_eq!(applied(bench, 2), [r#"{"staff":"A"}"#, r#"{"staff":"A"}"#, r#"{"staff":"B"}"#]);
}

fn the_word_resend_reaches_rows_that_are_in_doubt_already<H: Home>() {
    let home = home!(H, Bench::scripted([Fate::new(When::Ticket(2), Reply::close())]));
    let bench = home.bench();
    bench.file("rows.csv", "ticket_id,staff\n1,A\n2,A\n2,B\n");
    bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION);
    assert_eq!(bench.counts(1), [1, 0, 0, 1, 0, 1]);
    bench.run(&["run", "rows.csv", "--in-doubt", "resend"]).code(EXIT_DONE).says("will be sent again");
    assert_eq!(applied(bench, 2), [r#"{"staff":"A"}"#, r#"{"staff":"B"}"#]);
}

fn a_row_in_doubt_that_was_to_be_sent_again_is_in_doubt_until_it_is<H: Home>() {
    // The desk answers 500 for ever; nobody may take the row for one that was never applied.
    let home =
        home!(H, Bench::scripted([Fate::new(When::Ticket(2), Reply::status(500)).times(Fate::FOREVER)]));
    let bench = home.bench();
    bench.file("rows.csv", "ticket_id,staff\n2,A\n");
    bench.run(&["run", "rows.csv", "--in-doubt", "resend", "--retries", "2"]).code(EXIT_ATTENTION);
    assert_eq!((bench.counts(1), bench.desk().requests), ([0, 0, 0, 1, 0, 0], 3));
    bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION).says("nothing left to send");
    assert_eq!(bench.desk().requests, 3);
}

fn an_attempt_that_comes_to_nothing_does_not_undo_a_doubt<H: Home>() {
    let doubt = Fate::new(When::Request(1), Reply::status(500)).applied();
    let away = Fate::new(When::Request(2), Reply::status(429).header("retry-after", "7200"));
    let home = home!(H, Bench::scripted([doubt, away]));
    let bench = home.bench();
    bench.file("rows.csv", "ticket_id,staff\n2,A\n");
    bench.run(&["run", "rows.csv", "--in-doubt", "resend"]).code(EXIT_EARLY);
    assert_eq!(bench.counts(1), [0, 0, 0, 1, 0, 0], "refused at the second attempt, unknown at the first");
}

fn a_doubt_that_newer_data_has_come_after_is_not_sent_again<H: Home>() {
    let home = home!(H, Bench::scripted([Fate::new(When::Request(1), Reply::close())]));
    let bench = home.bench();
    bench.file("old.csv", "ticket_id,staff,name\n2,A,\n2,,N\n");
    bench.file("new.csv", "ticket_id,staff\n2,B\n");
    bench.run(&["run", "old.csv"]).code(EXIT_ATTENTION);
    bench.run(&["run", "new.csv"]).code(EXIT_DONE);
    bench.run(&["resume", "1", "--in-doubt", "resend"]).code(EXIT_ATTENTION).says("deskload resolve 1");
    assert_eq!(bench.counts(1), [0, 0, 0, 1, 0, 1], "and what is behind it waits");
    assert_eq!(applied(bench, 2), [r#"{"staff":"B"}"#]);
}
