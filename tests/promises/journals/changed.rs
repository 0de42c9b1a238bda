//! `--only-changed`: what a ticket was given last is not sent again, and whatever is not sure counts as changed.

use deskload::error::{EXIT_ATTENTION, EXIT_DONE, EXIT_EARLY, EXIT_GUARD, EXIT_OVERLAP};
use deskload::input::Survey;
use deskload::journal::state::Ending;
use deskload::journal::transitions::Batch;
use deskload::journal::unchanged::{Compared, Recent, Unchanged};
use deskload::sandbox::{Fate, Reply, When};
use rustix::process::Signal;
use serde_json::json;

use super::database::Database;
use super::homes::{Folder, Home, Hosted, home};
use super::{At, Engine as _, Input, on_both, opened};
use crate::support::{Bench, Output, closing_time, csv, one_at_a_time};

on_both!(
    Folder, Hosted:
    a_corrected_whole_input_sends_just_what_is_new,
    a_corrected_failures_file_sends_just_what_is_new,
    a_night_on_which_nothing_changed_sends_nothing,
    values_are_compared_by_what_they_mean,
    each_field_is_compared_with_the_last_row_that_set_it,
    an_earlier_row_of_the_same_input_that_is_sent_makes_the_later_ones_changed,
    a_row_in_doubt_counts_as_changed,
    what_a_person_let_be_is_not_known,
    a_row_that_was_refused_has_changed_nothing,
    what_was_given_longer_ago_than_max_age_is_sent_all_the_same,
    what_was_decided_at_the_start_outlives_a_kill_and_a_newer_run,
    a_run_that_was_begun_without_it_goes_on_without_it,
    an_older_run_does_not_overwrite_what_a_newer_one_found_as_it_should_be,
    what_other_accounts_gave_a_ticket_is_not_looked_at,
    check_and_the_guards_count_what_would_be_sent,
    a_large_input_is_compared_as_a_small_one_is,
);

/// Runs this text with `--only-changed`, which must end with this code.
fn changed(bench: &Bench, text: &str, code: u8) -> Output {
    bench.file("changed.csv", text);
    bench.run(&["run", "changed.csv", "--only-changed", "--max-failures", "100%"]).code(code)
}

/// What took effect at a ticket, in the desk's order.
fn applied(bench: &Bench, ticket: u64) -> Vec<String> {
    bench.judge().order(ticket).iter().map(ToString::to_string).collect()
}

fn a_corrected_whole_input_sends_just_what_is_new<H: Home>() {
    let home = home!(H, Bench::scripted([Fate::new(When::Ticket(2), Reply::error(200, "no such staff"))]));
    let bench = home.bench();
    bench.file("rows.csv", "ticket_id,staff,priority\n1,A,high\n2,X,low\n3,A,\n4,B,low\n");
    bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION);
    let corrected = "ticket_id,staff,priority\n1,A,high\n2,B,low\n3,A,\n4,C,low\n5,A,low\n";
    changed(bench, corrected, EXIT_DONE)
        .says("(2 unchanged)")
        .says("2 skipped: the ticket was given these values last");
    assert_eq!(bench.counts(2), [3, 0, 0, 0, 2, 0]);
    assert_eq!(bench.desk().requests, 4 + 3);
    let reason = json!({ "outcome": "skipped", "reason": "unchanged", "count": 2,
        "message": "the ticket was given these values last" });
    assert_eq!(bench.summary(2)["reasons"], json!([reason]));
    assert_eq!(applied(bench, 2), [r#"{"staff":"B","priority":"low"}"#]);
    // Finished is finished, with the flag and without it.
    bench.run(&["run", "changed.csv", "--only-changed"]).code(EXIT_DONE).says("nothing left to do");
    bench.run(&["run", "changed.csv"]).code(EXIT_DONE).says("nothing left to do");
    // Nobody is kept from sending all of it.
    bench.run(&["run", "changed.csv", "--again"]).code(EXIT_DONE);
    assert_eq!(bench.counts(3), [5, 0, 0, 0, 0, 0]);
}

fn a_corrected_failures_file_sends_just_what_is_new<H: Home>() {
    let fates = [2, 3].map(|ticket| Fate::new(When::Ticket(ticket), Reply::error(200, "no such staff")));
    let home = home!(H, Bench::scripted(fates));
    let bench = home.bench();
    bench.file("rows.csv", "ticket_id,staff\n1,A\n2,X\n3,Y\n");
    bench.run(&["run", "rows.csv", "--max-failures", "100%"]).code(EXIT_ATTENTION);
    let failures = bench.read("deskload-reports/run-1/failures.csv");
    // One of the two is corrected, and the other one left for later.
    changed(bench, &failures.replace("2,X", "2,A"), EXIT_DONE);
    assert_eq!(bench.counts(2), [2, 0, 0, 0, 0, 0]);
    changed(bench, &failures.replace("2,X", "2,A").replace("3,Y", "3,B"), EXIT_DONE);
    assert_eq!(bench.counts(3), [0, 0, 0, 0, 2, 0], "the second one has been set by the newer run since");
    // Without the columns that say where they come from it is an input like any other.
    changed(bench, "ticket_id,staff\n2,A\n3,B\n", EXIT_DONE);
    assert_eq!(bench.counts(4), [1, 0, 0, 0, 1, 0]);
    assert_eq!(applied(bench, 3), [r#"{"staff":"Y"}"#, r#"{"staff":"B"}"#]);
}

fn a_night_on_which_nothing_changed_sends_nothing<H: Home>() {
    let home = home!(H, Bench::new());
    let bench = home.bench();
    bench.file("rows.csv", csv(1..=300));
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    let mut rows: Vec<String> = csv(1..=300).lines().skip(1).map(str::to_owned).collect();
    rows.reverse();
    let night = format!("ticket_id,subject\n{}\n", rows.join("\n"));
    changed(bench, &night, EXIT_DONE);
    assert_eq!((bench.counts(2), bench.desk().requests), ([0, 0, 0, 0, 300, 0], 300));
    changed(bench, &night.replace(",row 7\n", ",row seven\n"), EXIT_DONE);
    assert_eq!((bench.counts(3), bench.desk().requests), ([1, 0, 0, 0, 299, 0], 301));
}

fn values_are_compared_by_what_they_mean<H: Home>() {
    let home = home!(H, Bench::new());
    let bench = home.bench();
    let header = "ticket_id,priority,custom_fields.CF2,custom_fields.CF1,phone\n";
    bench.file("rows.csv", format!("{header}7,HIGH,b,a,\n8,low,b,,0\n"));
    bench.run(&["run", "rows.csv", "--blank", "phone=clear"]).code(EXIT_DONE);
    // The same by other columns, in another order, with other zeros and other capitals.
    let custom = r#"[{"id":"CF1","value":"a"},{"id":"cf2","value":"b"}]"#;
    bench.file(
        "changed.jsonl",
        format!("{{\"custom_fields\":{custom},\"ticket_id\":\"007\",\"priority\":\"high\"}}\n"),
    );
    bench.run(&["run", "changed.jsonl", "--only-changed"]).code(EXIT_DONE);
    assert_eq!(bench.counts(2), [0, 0, 0, 0, 1, 0]);
    // A field that was cleared has a value, one that was left alone has none; the case of a value matters.
    bench.file("changed.csv", format!("{header}7,high,b,a,\n8,low,B,,\n8,low,,,0\n8,low,b,a,\n"));
    bench.run(&["run", "changed.csv", "--only-changed", "--blank", "phone=clear"]).code(EXIT_DONE);
    assert_eq!(bench.counts(3), [3, 0, 0, 0, 1, 0], "8: CF2, then phone after its clearing, then CF1");
}

fn each_field_is_compared_with_the_last_row_that_set_it<H: Home>() {
    let home = home!(H, Bench::new());
    let bench = home.bench();
    for (name, text) in [
        ("1.csv", "ticket_id,staff,subject\n7,A,s\n8,A,s\n"),
        ("2.csv", "ticket_id,subject\n7,t\n"),
        ("3.csv", "ticket_id,staff\n8,B\n"),
    ] {
        bench.file(name, text);
        bench.run(&["run", name]).code(EXIT_DONE);
    }
    changed(bench, "ticket_id,staff,subject\n7,A,t\n8,A,s\n9,A,s\n", EXIT_DONE);
    assert_eq!(bench.counts(4), [2, 0, 0, 0, 1, 0]);
    assert_eq!(applied(bench, 7).len(), 2);
}

fn an_earlier_row_of_the_same_input_that_is_sent_makes_the_later_ones_changed<H: Home>() {
    let home = home!(H, Bench::new());
    let bench = home.bench();
    bench.file("rows.csv", "ticket_id,staff,subject\n7,A,s\n8,A,s\n");
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    changed(bench, "ticket_id,staff,subject\n7,A,\n7,B,\n7,A,\n7,,s\n8,A,s\n8,A,s\n", EXIT_DONE);
    assert_eq!(bench.counts(2), [2, 0, 0, 0, 4, 0]);
    let staff = |name: &str| format!(r#"{{"staff":"{name}"}}"#);
    assert_eq!(applied(bench, 7)[1..], [staff("B"), staff("A")]);
}

fn a_row_in_doubt_counts_as_changed<H: Home>() {
    let home = home!(H, Bench::scripted([Fate::new(When::Request(3), Reply::status(500)).applied()]));
    let bench = home.bench();
    bench.file("1.csv", "ticket_id,staff\n7,A\n8,A\n");
    bench.run(&["run", "1.csv"]).code(EXIT_DONE);
    bench.file("2.csv", "ticket_id,staff\n7,B\n");
    bench.run(&["run", "2.csv"]).code(EXIT_ATTENTION);
    changed(bench, "ticket_id,staff\n7,A\n8,A\n", EXIT_DONE);
    assert_eq!((bench.counts(3), bench.desk().requests), ([1, 0, 0, 0, 1, 0], 4));
    // It may still arrive, after what was applied since.
    changed(bench, "ticket_id,staff\n7,A\n08,A\n", EXIT_DONE);
    assert_eq!(bench.counts(4), [1, 0, 0, 0, 1, 0]);
    // The same update as the one in doubt waits for a person, as ever.
    changed(bench, "ticket_id,staff\n8,A\n7,B\n", EXIT_ATTENTION);
    assert_eq!(bench.counts(5), [0, 0, 0, 0, 1, 1]);
    bench.run(&["resolve", "2", "--skip"]).code(EXIT_DONE);
    bench.run(&["resume", "5"]).code(EXIT_DONE);
    assert_eq!(applied(bench, 7).len(), 5);
}

fn what_a_person_let_be_is_not_known<H: Home>() {
    let home = home!(H, Bench::scripted([Fate::new(When::Request(2), Reply::status(500)).applied()]));
    let bench = home.bench();
    bench.file("1.csv", "ticket_id,staff\n7,A\n");
    bench.run(&["run", "1.csv"]).code(EXIT_DONE);
    bench.file("2.csv", "ticket_id,staff\n7,B\n");
    bench.run(&["run", "2.csv"]).code(EXIT_ATTENTION);
    bench.run(&["resolve", "2", "--skip"]).code(EXIT_DONE);
    changed(bench, "ticket_id,staff\n007,A\n", EXIT_DONE);
    assert_eq!(bench.counts(3), [1, 0, 0, 0, 0, 0]);
    // That the desk has it is as good as an answer.
    let home = home!(H, Bench::scripted([Fate::new(When::Request(1), Reply::status(500)).applied()]));
    let bench = home.bench();
    bench.file("1.csv", "ticket_id,staff\n7,A\n");
    bench.run(&["run", "1.csv"]).code(EXIT_ATTENTION);
    bench.run(&["resolve", "1", "--applied"]).code(EXIT_DONE);
    changed(bench, "ticket_id,staff\n007,A\n", EXIT_DONE);
    assert_eq!(bench.counts(2), [0, 0, 0, 0, 1, 0]);
}

fn a_row_that_was_refused_has_changed_nothing<H: Home>() {
    let home = home!(H, Bench::scripted([Fate::new(When::Request(2), Reply::status(422))]));
    let bench = home.bench();
    bench.file("1.csv", "ticket_id,staff\n7,A\n");
    bench.run(&["run", "1.csv"]).code(EXIT_DONE);
    bench.file("2.csv", "ticket_id,staff\n7,B\n");
    bench.run(&["run", "2.csv"]).code(EXIT_ATTENTION);
    changed(bench, "ticket_id,staff\n007,A\n", EXIT_DONE);
    assert_eq!(bench.counts(3), [0, 0, 0, 0, 1, 0]);
}

fn what_was_given_longer_ago_than_max_age_is_sent_all_the_same<H: Home>() {
    let home = home!(H, Bench::new());
    let bench = home.bench();
    bench.file("1.csv", "ticket_id,staff\n7,A\n8,A\n");
    bench.run(&["run", "1.csv"]).code(EXIT_DONE);
    bench.file("2.csv", "ticket_id,staff\n8,B\n");
    bench.run(&["run", "2.csv"]).code(EXIT_DONE);
    let started = |run: u64, days: i64| {
        let later = format!("started_ms = started_ms + {} WHERE id = {run}", days * 86_400_000);
        home.change(&format!("UPDATE {}run SET {later}", H::TABLES));
    };
    let night = |age: &str, text: &str| {
        bench.file("changed.csv", format!("ticket_id,staff\n{text}"));
        bench.run(&["run", "changed.csv", "--only-changed", "--max-age", age]).code(EXIT_DONE);
    };
    started(1, -29);
    night("30d", "7,A\n8,B\n");
    assert_eq!(bench.counts(3), [0, 0, 0, 0, 2, 0]);
    started(1, -2);
    night("30d", "007,A\n8,B\n");
    assert_eq!(bench.counts(4), [1, 0, 0, 0, 1, 0], "7 is of a run that is 31 days old");
    night("30d", "0007,A\n8,B\n");
    assert_eq!(bench.counts(5), [0, 0, 0, 0, 2, 0], "and is young again");
    // A run from the future is one of a clock that was wrong.
    started(2, 10);
    night("30d", "7,A\n08,B\n");
    assert_eq!(bench.counts(6), [1, 0, 0, 0, 1, 0]);
}

fn what_was_decided_at_the_start_outlives_a_kill_and_a_newer_run<H: Home>() {
    let home = home!(H, Bench::scripted([Fate::new(When::Request(103), Reply::silence())]));
    let bench = home.bench();
    bench.rows(1..=100);
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    let fresh = csv((1..=100).chain(101..=110));
    bench.file("changed.csv", &fresh);
    let night = ["run", "changed.csv", "--only-changed", "--concurrency", "1", "--timeout", "10m"];
    let mut killed = bench.start(&night);
    bench.await_requests(&mut killed, 103);
    killed.signal(Signal::KILL);
    killed.finish().code_none();
    home.forget_the_dead();
    // Another file in between gives one of the skipped tickets something else.
    bench.file("other.csv", "ticket_id,subject\n5,other\n");
    bench.run(&["run", "other.csv"]).code(EXIT_DONE);
    bench.run(&night).code(EXIT_ATTENTION);
    let [applied_now, _, _, in_doubt, skipped, pending] = bench.counts(2);
    assert_eq!((applied_now + in_doubt, skipped, pending), (10, 100, 0));
    assert_eq!(applied(bench, 5).len(), 2, "its row is as it was, and overwrites nothing");
    assert_eq!(bench.judge().applied_twice, 0);
}

fn a_run_that_was_begun_without_it_goes_on_without_it<H: Home>() {
    let home = home!(H, Bench::scripted([closing_time(4)]));
    let bench = home.bench();
    bench.rows(1..=6);
    bench.run(&one_at_a_time("rows.csv", &[])).code(EXIT_EARLY);
    bench
        .run(&["run", "rows.csv", "--only-changed"])
        .code(EXIT_DONE)
        .says("run 1 was begun without --only-changed");
    assert_eq!(bench.counts(1), [6, 0, 0, 0, 0, 0]);
}

fn an_older_run_does_not_overwrite_what_a_newer_one_found_as_it_should_be<H: Home>() {
    let home = home!(H, Bench::scripted([closing_time(2)]));
    let bench = home.bench();
    bench.file("1.csv", "ticket_id,staff\n7,A\n");
    bench.run(&["run", "1.csv"]).code(EXIT_DONE);
    bench.file("2.csv", "ticket_id,staff\n7,B\n");
    bench.run(&one_at_a_time("2.csv", &[])).code(EXIT_EARLY);
    // It is A that the newest file asks for, and A that the ticket has.
    changed(bench, "ticket_id,staff\n007,A\n", EXIT_DONE);
    assert_eq!(bench.counts(3), [0, 0, 0, 0, 1, 0]);
    bench.run(&["resume", "2"]).code(EXIT_DONE);
    assert_eq!((bench.counts(2), bench.desk().requests), ([0, 0, 0, 0, 1, 0], 2));
    assert_eq!(applied(bench, 7), [r#"{"staff":"A"}"#]);
}

fn what_other_accounts_gave_a_ticket_is_not_looked_at<H: Home>() {
    let home = home!(H, Bench::new());
    let bench = home.bench();
    bench.file("rows.csv", "ticket_id,staff\n7,A\n");
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    let other = ["run", "rows.csv", "--only-changed", "--account-email", "two@example.com"];
    bench.run(&other).code(EXIT_DONE);
    assert_eq!(bench.counts(2), [1, 0, 0, 0, 0, 0]);
}

fn check_and_the_guards_count_what_would_be_sent<H: Home>() {
    let home = home!(H, Bench::new());
    let bench = home.bench();
    bench.rows(1..=10);
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    bench.file("changed.csv", csv((1..=10).chain([11, 12, 13])) + "x,y\n");
    let checked = bench.run(&["check", "changed.csv", "--only-changed", "--json"]).code(EXIT_DONE);
    let checked: serde_json::Value = serde_json::from_str(&checked.stdout).unwrap();
    assert_eq!(checked["requests"], 3);
    assert_eq!(checked["input"]["valid"], 13);
    assert_eq!(checked["input"]["unchanged"], 10);
    let before = bench.files();
    let plain = bench.run(&["check", "changed.csv", "--only-changed"]).code(EXIT_DONE);
    assert!(plain.stdout.contains("unchanged  10"), "{}", plain.stdout);
    assert_eq!(bench.files(), before, "it leaves nothing behind");
    let night = |max: &str, code| {
        bench.run(&["run", "changed.csv", "--only-changed", "--max-updates", max]).code(code)
    };
    night("2", EXIT_GUARD).says("3 rows would be sent");
    night("3", EXIT_ATTENTION);
    assert_eq!(bench.counts(2), [3, 0, 1, 0, 10, 0]);
}

/// Compares an input with what run 1 has given.
fn compare(at: &mut At<Database>, input: &Input) -> (Survey, Option<Unchanged>) {
    let compared = Compared { desk: &super::desk(), recent: Recent::ANY, look: &|| Ok(()) };
    let found = input.read(&mut at.engine, Some(&compared));
    assert_eq!(found.1.as_ref().unwrap().count(), 2, "row 3 is not known yet");
    found
}

#[test]
fn what_was_compared_before_others_were_permitted_to_send_begins_no_run() {
    let mut at = opened!(Database, &super::csv(3));
    at.end(&[1, 2], &Ending::Applied);
    let input = Input::new(&super::csv(3));
    let found = compare(&mut at, &input);
    // A permit that comes to nothing is one all the same: nobody can tell at the other end.
    let given_back = at.grant(&[(3, 0)]);
    at.commit(&Batch { given_back, ..Batch::default() });
    let newest = Some(at.run.key.id);
    let refused = input.open(&mut at.engine, &found, newest).unwrap_err();
    assert_eq!(refused.exit_code(), EXIT_OVERLAP);
    assert_eq!(at.engine.archive().runs().unwrap().len(), 1);
    let input = Input::new(&super::csv(3));
    let found = compare(&mut at, &input);
    let run = input.open(&mut at.engine, &found, newest).unwrap();
    assert_eq!((run.unchanged, run.counts.skipped, run.counts.pending), (Some(2), 2, 1));
    let unchanged =
        format!("SELECT count(*) FROM deskload.rows WHERE run = {} AND reason = 'unchanged'", run.key.id);
    assert_eq!(at.engine.ask(&unchanged), "2");
}

#[test]
fn without_an_account_check_says_that_it_compares_with_nothing() {
    let bench = Bench::new().unset("DESKLOAD_ACCOUNT_EMAIL");
    bench.rows(1..=3);
    let checked = bench.run(&["check", "rows.csv", "--only-changed"]).code(EXIT_DONE);
    checked.says("is not known without --account-email");
}

#[test]
fn pruning_takes_away_nothing_that_is_compared_with() {
    let bench = Bench::scripted([closing_time(3)]);
    bench.file("1.csv", "ticket_id,staff\n7,A\n8,A\n");
    bench.run(&["run", "1.csv"]).code(EXIT_DONE);
    bench.file("2.csv", "ticket_id,staff\n7,B\n");
    bench.run(&one_at_a_time("2.csv", &[])).code(EXIT_EARLY);
    changed(&bench, "ticket_id,staff\n7,A\n08,A\n", EXIT_DONE);
    let journal = rusqlite::Connection::open(bench.journal()).unwrap();
    let past = "UPDATE run SET started_ms = started_ms - ?1, ended_ms = ended_ms - ?1";
    journal.execute(past, [100 * 86_400_000_i64]).unwrap();
    bench.run(&["runs", "prune", "--older-than", "90d"]).code(EXIT_DONE);
    changed(&bench, "ticket_id,staff\n007,A\n8,A\n", EXIT_DONE);
    assert_eq!((bench.counts(4), bench.desk().requests), ([0, 0, 0, 0, 2, 0], 3));
    // The unfinished one still overwrites nothing.
    journal.execute("UPDATE run SET unchanged = 0 WHERE id = 4", []).unwrap();
    journal.execute("DELETE FROM row WHERE key > (SELECT key_before FROM run WHERE id = 4)", []).unwrap();
    bench.run(&["resume", "2"]).code(EXIT_DONE);
    assert_eq!(applied(&bench, 7), [r#"{"staff":"A"}"#]);
}

fn a_large_input_is_compared_as_a_small_one_is<H: Home>() {
    let home = home!(H, Bench::new());
    let bench = home.bench();
    bench.rows([3, 9, 70_001, 80_000]);
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    // Rows 3, 9 and 70,001 of the large one are those of the small one but for their subjects, of which two are put right.
    let large = csv(1..=70_001)
        .replace("\n9,row 9\n", "\n9,row 2\n")
        .replace("\n70001,row 70001\n", "\n70001,row 3\n");
    bench.file("large.csv", large);
    let checked = bench.run(&["check", "large.csv", "--only-changed", "--json"]).code(EXIT_DONE);
    let checked: serde_json::Value = serde_json::from_str(&checked.stdout).unwrap();
    assert_eq!((&checked["input"]["unchanged"], &checked["requests"]), (&json!(2), &json!(69_999)));
}
