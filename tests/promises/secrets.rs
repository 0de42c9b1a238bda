//! The token is in the body of each request, and nowhere else. For a desk that echoes it see `faults::credentials`.

use std::fs;

use deskload::error::{EXIT_CREDENTIALS, EXIT_DONE, EXIT_EARLY};
use deskload::sandbox::{Fate, Reply, When};
use rustix::process::Signal;

use crate::support::{Bench, Output, TOKEN, closing_time, one_at_a_time};

/// Neither the files nor what was said holds the token, in any of these spellings.
pub(crate) fn nowhere(bench: &Bench, said: &Output, spellings: &[&str]) {
    for spelling in spellings {
        for text in [&said.stdout, &said.stderr] {
            assert!(!text.contains(spelling), "{spelling} was said:\n{text}");
        }
        for path in bench.files() {
            let bytes = fs::read(&path).unwrap();
            let found = bytes.windows(spelling.len()).any(|window| window == spelling.as_bytes());
            assert!(!found, "{spelling} is in {}", path.display());
        }
    }
}

#[test]
fn the_token_is_in_no_file_of_a_killed_run() {
    let bench = Bench::scripted([Fate::new(When::From(20), Reply::silence()).times(Fate::FOREVER)]);
    bench.rows(1..=100);
    let mut program = bench.start(&["run", "rows.csv", "-vv"]);
    bench.await_requests(&mut program, 20);
    program.signal(Signal::KILL);
    let said = program.finish();
    assert!(bench.path("deskload/journal.sqlite3-wal").exists(), "the write-ahead log is still there");
    nowhere(&bench, &said, &[TOKEN]);
}

#[test]
fn a_token_that_is_refused_is_not_shown() {
    let bench = Bench::new().set("DESKLOAD_TOKEN", "canary-of-yesterday");
    bench.rows(1..=3);
    let said = bench.run(&["run", "rows.csv", "-vv"]).code(EXIT_CREDENTIALS);
    nowhere(&bench, &said, &["canary"]);
}

#[test]
fn the_token_is_not_in_the_environment_of_the_token_command() {
    let bench = Bench::new();
    bench.rows(1..=3);
    // It would print the token, had it got it.
    let said =
        bench.run(&["run", "rows.csv", "--token-command", "env >env; echo wrong"]).code(EXIT_CREDENTIALS);
    nowhere(&bench, &said, &[TOKEN]);
}

#[test]
fn a_token_that_is_a_common_word_or_a_number_changes_no_reply() {
    for token in ["success", "1", "ticket_id", "s"] {
        let bench = Bench::with(|options| token.clone_into(&mut options.token));
        bench.rows([1, 11, 21]);
        bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
        assert_eq!(bench.counts(1), [3, 0, 0, 0, 0, 0], "{token}");
    }
}

#[test]
fn the_command_that_goes_on_is_told_without_the_token_command() {
    let bench = Bench::scripted([closing_time(2)]);
    bench.rows(1..=3);
    let command = format!("--token-command=echo {TOKEN}");
    let said = bench.run(&one_at_a_time("rows.csv", &[&command, "-v"])).code(EXIT_EARLY);
    let said = said.says("to go on: deskload run rows.csv").says("--token-command=…");
    nowhere(&bench, &said, &[TOKEN]);
    bench.run(&["run", "rows.csv", "--token-command", &format!("echo {TOKEN}")]).code(EXIT_DONE);
}
