//! Where the token comes from, and a new one once the desk refuses the old.

use std::fs;

use deskload::error::{EXIT_CREDENTIALS, EXIT_DONE, EXIT_USAGE};

use crate::support::{Bench, TOKEN};

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
