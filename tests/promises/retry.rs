//! What is proven not applied is tried again, within patience; wrong credentials stop at once.

use std::fs;

use deskload::error::{EXIT_ATTENTION, EXIT_CREDENTIALS, EXIT_DONE, EXIT_EARLY, EXIT_USAGE};
use deskload::sandbox::{Fate, Reply, When};

use crate::support::{Bench, TOKEN};

#[test]
fn a_desk_that_cannot_be_reached_ends_the_run_after_patience() {
    let bench = Bench::without_desk();
    bench.rows(1..=5);
    let ended = bench.run(&["run", "rows.csv", "--patience", "2s"]).code(EXIT_EARLY);
    ended.says("the desk does not answer").says("to go on: deskload run rows.csv");
    assert_eq!(bench.counts(1), [0, 0, 0, 0, 0, 5]);
    assert_eq!(bench.summary(1)["attempts"], 0, "no byte left");
}

#[test]
fn rows_wait_for_a_desk_that_comes_back() {
    let mut bench = Bench::new();
    bench.close_desk();
    bench.rows(1..=5);
    bench.run(&["run", "rows.csv", "--patience", "1s"]).code(EXIT_EARLY);
    bench.open_desk();
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    assert_eq!((bench.judge().applied, bench.judge().applied_twice), (5, 0));
}

#[test]
fn a_run_under_way_goes_on_when_the_desk_is_back() {
    let mut bench = Bench::new();
    bench.rows(1..=2_000);
    let mut program = bench.start(&["run", "rows.csv", "--rate", "500/s", "--patience", "2m"]);
    bench.await_requests(&mut program, 100);
    bench.close_desk();
    bench.open_desk();
    let ended = program.finish();
    let [applied, failed, _, in_doubt, _, pending] = bench.counts(1);
    assert_eq!((applied + in_doubt, failed, pending), (2_000, 0, 0));
    assert!(in_doubt <= 8, "{in_doubt} were on their way when the desk went");
    ended.code(if in_doubt == 0 { EXIT_DONE } else { EXIT_ATTENTION });
    assert_eq!(bench.judge().applied_twice, 0);
}

#[test]
fn credentials_that_are_refused_stop_at_once_and_no_row_is_failed() {
    let bench = Bench::new().set("DESKLOAD_TOKEN", "wrong");
    bench.rows(1..=200);
    let refused = bench.run(&["run", "rows.csv", "--concurrency", "4"]).code(EXIT_CREDENTIALS);
    refused.says("Unable to authenticate").says("no row was marked failed");
    assert!(bench.desk().requests <= 4, "{:?}", bench.desk());
    assert_eq!(bench.counts(1), [0, 0, 0, 0, 0, 200]);
    let bench = bench.set("DESKLOAD_TOKEN", TOKEN);
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    assert_eq!(bench.counts(1), [200, 0, 0, 0, 0, 0]);
}

#[test]
fn a_401_or_403_before_anything_was_applied_is_the_credentials() {
    for status in [401, 403] {
        let bench = Bench::scripted([Fate::new(When::Request(1), Reply::error(status, "No entry"))]);
        bench.rows(1..=5);
        bench.run(&["run", "rows.csv", "--concurrency", "1"]).code(EXIT_CREDENTIALS).says("No entry");
        assert_eq!(bench.counts(1), [0, 0, 0, 0, 0, 5]);
        assert_eq!(bench.desk().requests, 1);
        bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    }
}

#[test]
fn one_403_among_successes_is_that_row_s_own() {
    let bench = Bench::scripted([Fate::new(When::Request(10), Reply::error(403, "Not your inbox"))]);
    bench.rows(1..=20);
    bench.run(&["run", "rows.csv", "--concurrency", "1"]).code(EXIT_ATTENTION);
    assert_eq!(bench.counts(1), [19, 1, 0, 0, 0, 0]);
    assert_eq!(bench.summary(1)["reasons"][0]["reason"], "forbidden");
    assert_eq!(bench.summary(1)["reasons"][0]["message"], "Not your inbox");
}

#[test]
fn the_third_403_in_a_row_is_the_credentials() {
    let bench = Bench::scripted([Fate::new(When::From(10), Reply::status(403)).times(Fate::FOREVER)]);
    bench.rows(1..=20);
    bench.run(&["run", "rows.csv", "--concurrency", "1"]).code(EXIT_CREDENTIALS);
    assert_eq!(bench.counts(1), [9, 2, 0, 0, 0, 9]);
    assert_eq!(bench.desk().requests, 12);
}

/// A command that notes each call, and prints one token after the other.
fn tokens(bench: &Bench, tokens: &[&str]) {
    let cases: Vec<_> =
        tokens.iter().zip(1..).map(|(token, call)| format!("{call}) echo {token};;")).collect();
    bench.file("token.sh", format!("echo call >>calls\ncase $(wc -l <calls) in {} esac", cases.join(" ")));
}

#[test]
fn the_token_command_is_asked_once_more_when_its_token_is_refused() {
    let bench = Bench::new().unset("DESKLOAD_TOKEN");
    bench.rows(1..=30);
    tokens(&bench, &["stale", TOKEN]);
    bench.run(&["run", "rows.csv", "--token-command", "sh token.sh"]).code(EXIT_DONE);
    assert_eq!(bench.read("calls").lines().count(), 2);
    assert_eq!(bench.counts(1), [30, 0, 0, 0, 0, 0]);
    assert_eq!(bench.judge().applied_twice, 0);
}

#[test]
fn the_token_command_is_not_asked_for_ever() {
    let bench = Bench::new().unset("DESKLOAD_TOKEN");
    bench.rows(1..=30);
    tokens(&bench, &["stale", "stale too", TOKEN]);
    let args = ["run", "rows.csv", "--token-command", "sh token.sh", "--concurrency", "4"];
    bench.run(&args).code(EXIT_CREDENTIALS);
    assert_eq!(bench.read("calls").lines().count(), 2);
    assert_eq!(bench.counts(1), [0, 0, 0, 0, 0, 30]);
}

#[test]
fn a_token_command_that_fails_says_so() {
    let bench = Bench::new().unset("DESKLOAD_TOKEN");
    bench.rows(1..=3);
    let args = |command| ["run", "rows.csv", "--token-command", command];
    bench.run(&args("exit 3")).code(EXIT_USAGE).says("--token-command failed");
    bench.run(&args("true")).code(EXIT_USAGE).says("--token-command printed nothing");
    assert_eq!(bench.desk().requests, 0);
}

#[test]
fn a_token_file_of_mode_0600_is_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = Bench::new().unset("DESKLOAD_TOKEN");
    bench.rows(1..=3);
    bench.file("token", format!("  {TOKEN}\n"));
    bench.run(&["run", "rows.csv", "--token-file", "token"]).code(EXIT_USAGE).says("chmod 600 token");
    assert_eq!(bench.desk().requests, 0);
    fs::set_permissions(bench.path("token"), fs::Permissions::from_mode(0o600)).unwrap();
    bench.run(&["run", "rows.csv", "--token-file", "token"]).code(EXIT_DONE);
}
