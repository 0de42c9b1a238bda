//! Wrong use is said in words that tell what to do, and nothing is sent.

use deskload::error::{EXIT_DONE, EXIT_MACHINE, EXIT_USAGE};
use deskload::sandbox::{Fate, Reply, When};

use crate::support::{Bench, TOKEN};

/// No text for a person shows how the program is made inside.
#[track_caller]
fn for_people(text: &str) {
    for inside in
        ["Error(", "Err(", "Some(", "None", "Os {", "::", "panicked", "unwrap", "kind:", "deskload: deskload"]
    {
        assert!(!text.contains(inside), "{inside:?} is in:\n{text}");
    }
}

#[track_caller]
fn wrong(bench: &Bench, args: &[&str], says: &[&str]) {
    let mut said = bench.run(args).code(EXIT_USAGE);
    for text in says {
        said = said.says(text);
    }
    for_people(&said.stderr);
    assert_eq!(said.stdout, "");
    assert_eq!(bench.desk().requests, 0);
    assert!(!bench.journal().exists(), "wrong use leaves nothing behind");
}

#[test]
fn every_wrong_use_says_what_and_what_to_do() {
    let bench = Bench::new();
    bench.rows(1..=3);
    bench.file("token", "x");
    bench.file("two-lines", "one\ntwo\n");
    let mine = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(bench.path("two-lines"), mine).unwrap();
    let run = |more: &[&'static str]| [&["run", "rows.csv"], more].concat();
    wrong(&bench, &["run", "nothing.csv"], &["nothing.csv", "no such file"]);
    wrong(&bench, &["run", "."], &["is a folder"]);
    wrong(&bench, &["run"], &["<FILE>"]);
    wrong(&bench, &["rnu", "rows.csv"], &["unrecognized subcommand", "--help"]);
    wrong(&bench, &run(&["--rate", "5"]), &["--rate", "such as 5/s"]);
    wrong(&bench, &run(&["--rate", "0/s"]), &["--rate", "is not a rate"]);
    wrong(&bench, &run(&["--burst", "0"]), &["--burst"]);
    wrong(&bench, &run(&["--concurrency", "0"]), &["--concurrency", "1..=1024"]);
    wrong(&bench, &run(&["--timeout", "30"]), &["--timeout", "such as 30s"]);
    wrong(&bench, &run(&["--max-failures", "some"]), &["--max-failures", "25%"]);
    wrong(&bench, &run(&["--format", "xml"]), &["--format", "csv, tsv, jsonl or xlsx"]);
    wrong(&bench, &run(&["--token-file", "token"]), &["others can read it", "chmod 600 token"]);
    wrong(&bench, &run(&["--token-file", "no-token"]), &["no-token", "no such file"]);
    wrong(&bench, &run(&["--token-file", "."]), &["token file .", "it is a folder"]);
    wrong(&bench, &run(&["--token-file", "two-lines"]), &["token file two-lines", "a line break"]);
    wrong(
        &bench,
        &run(&["--token-command", "printf 'a\\tb'"]),
        &["--token-command printed a control character"],
    );
    wrong(&bench, &run(&["--token-file", "token", "--token-command", "x"]), &["cannot be used with"]);
    wrong(&bench, &run(&["--timeout", "9000000000000000000s"]), &["--timeout", "366 days"]);
    wrong(&bench, &run(&["--proxy", "http://127.0.0.1:9/"]), &["--proxy", "unencrypted", "use https"]);
    wrong(&bench, &run(&["--url", "http://desk.example.com/"]), &["unencrypted", "use https"]);
    wrong(&bench, &run(&["--url", "http://192.168.0.1/"]), &["unencrypted"]);
    wrong(&bench, &run(&["--url", "ftp://desk.example.com/"]), &["is not an https address"]);
    wrong(&bench, &run(&["--url", "desk"]), &["is no address"]);
    wrong(&bench, &run(&["--ca-file", "token"]), &["--ca-file token"]);
    wrong(&bench, &run(&["--progress", "loud"]), &["--progress"]);
    wrong(&bench, &run(&["--token", "x"]), &["unexpected argument '--token'"]);
    wrong(&bench, &["status"], &["there is no journal", "--journal"]);
    wrong(&bench, &["report"], &["there is no journal"]);
    wrong(&bench, &["resume"], &["there is no journal"]);
    wrong(&bench, &["resolve", "--skip"], &["there is no journal"]);
    wrong(&bench, &["sandbox", "--rate", "fast"], &["--rate", "is not a rate"]);
    wrong(&bench, &["sandbox", "--drop", "2"], &["--drop", "did you mean 2%?"]);
}

#[test]
fn a_password_in_an_address_is_refused_and_not_repeated() {
    let bench = Bench::new();
    bench.rows(1..=3);
    let said =
        bench.run(&["run", "rows.csv", "--url", "https://ops:hunter2@desk.example.com/"]).code(EXIT_USAGE);
    said.says("must not hold a user name or password").never_says("hunter2");
    let said = bench.run(&["run", "rows.csv", "--proxy", "http://ops:hunter2@[bad"]).code(EXIT_USAGE);
    said.says("--proxy").never_says("hunter2");
}

#[test]
fn a_missing_token_or_account_is_named_with_its_ways() {
    let bench = Bench::new().unset("DESKLOAD_TOKEN");
    bench.rows(1..=3);
    wrong(&bench, &["run", "rows.csv"], &["the token is missing", "--token-file", "DESKLOAD_TOKEN", "0600"]);
    let bench = bench.set("DESKLOAD_TOKEN", "  ");
    wrong(&bench, &["run", "rows.csv"], &["the token is missing"]);
    let bench = bench.set("DESKLOAD_TOKEN", "one\ntwo");
    wrong(&bench, &["run", "rows.csv"], &["DESKLOAD_TOKEN cannot be used", "a line break"]);
    let bench = bench.set("DESKLOAD_TOKEN", "x").unset("DESKLOAD_ACCOUNT_EMAIL");
    wrong(&bench, &["run", "rows.csv"], &["--account-email", "DESKLOAD_ACCOUNT_EMAIL"]);
    wrong(&bench, &["run", "rows.csv", "--account-email", " "], &["e-mail is missing"]);
}

#[test]
fn a_run_of_another_desk_is_not_resumed_at_this_one() {
    let bench = Bench::scripted([crate::support::closing_time(2)]);
    bench.rows(1..=3);
    bench.run(&crate::support::one_at_a_time("rows.csv", &[])).code(deskload::error::EXIT_EARLY);
    bench.run(&["resume", "--account-email", "two@example.com"]).code(EXIT_USAGE).says("leave out --url");
    assert_eq!(bench.desk().requests, 2);
}

#[test]
fn a_flag_wins_over_the_environment() {
    let bench =
        Bench::new().set("DESKLOAD_ACCOUNT_EMAIL", "env@example.com").set("DESKLOAD_RATE", "nonsense");
    bench.rows(1..=3);
    wrong(&bench, &["run", "rows.csv"], &["nonsense"]);
    let bench = bench.set("DESKLOAD_RATE", "50/s").set("DESKLOAD_REPORT_DIR", "out");
    bench.run(&["run", "rows.csv", "--account-email", "Flag@Example.com"]).code(EXIT_DONE).says("pace 50/s");
    let summary: serde_json::Value = serde_json::from_str(&bench.read("out/run-1/summary.json")).unwrap();
    assert_eq!(summary["desk"]["account_email"], "flag@example.com");
}

#[test]
fn a_flag_for_the_token_wins_over_every_variable() {
    let bench = Bench::new()
        .set("DESKLOAD_TOKEN", "wrong")
        .set("DESKLOAD_TOKEN_FILE", "nothing")
        .set("DESKLOAD_TOKEN_COMMAND", "exit 3");
    bench.rows(1..=3);
    wrong(&bench, &["run", "rows.csv"], &["token file nothing"]);
    bench.file("token", TOKEN);
    let mine = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(bench.path("token"), mine).unwrap();
    bench.run(&["run", "rows.csv", "--token-command", "cat token"]).code(EXIT_DONE);
    bench.run(&["run", "rows.csv", "--again", "--token-file", "token"]).code(EXIT_DONE);
    let bench = bench.unset("DESKLOAD_TOKEN_FILE");
    bench.run(&["run", "rows.csv", "--again"]).code(EXIT_USAGE).says("--token-command failed");
    let bench = bench.set("DESKLOAD_TOKEN_COMMAND", "cat token");
    bench.run(&["run", "rows.csv", "--again"]).code(EXIT_DONE);
}

#[test]
fn more_is_said_of_what_happens_and_nothing_of_what_libraries_do() {
    let bench = Bench::scripted([Fate::new(When::Ticket(2), Reply::status(429).header("retry-after", "0"))]);
    bench.rows(1..=3);
    let said = bench.run(&["run", "rows.csv", "-v"]).code(EXIT_DONE);
    let said = said.says("begun: deskload run rows.csv -v").says("asks for a pause").says("ended");
    said.never_says("request row=").never_says("\u{1b}");
    let said = bench.run(&["run", "rows.csv", "--again", "-vv"]).code(EXIT_DONE);
    let said = said.says("request row=3 ticket=3 attempt=1 verdict=\"applied\"").says("latency=");
    said.never_says("hyper").never_says("rustls").never_says("reqwest");
}

#[test]
fn a_listener_that_has_left_is_no_reason_to_stop() {
    let bench = Bench::new();
    bench.rows(1..=50);
    bench.shell("{ \"$DESKLOAD\" run rows.csv -vv 2>&1; echo $? >code; } | head -n 1", None);
    assert_eq!(bench.read("code"), "0\n");
    assert_eq!(bench.counts(1), [50, 0, 0, 0, 0, 0]);
}

#[test]
fn a_state_directory_takes_everything() {
    let bench = Bench::new();
    let bench = {
        let state = bench.path("state");
        std::fs::create_dir(&state).unwrap();
        bench.set("STATE_DIRECTORY", state.to_str().unwrap())
    };
    bench.rows(1..=3);
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    assert!(bench.path("state/journal.sqlite3").exists());
    assert!(bench.path("state/reports/run-1/summary.json").exists());
    assert!(bench.path("state/accounts").is_dir());
    assert!(!bench.path("deskload").exists() && !bench.path("deskload-reports").exists());
}

#[test]
fn help_and_version_are_on_standard_output() {
    let bench = Bench::new();
    let short = concat!("deskload ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(bench.run(&["-V"]).code(EXIT_DONE).stdout, short);
    let long = bench.run(&["--version"]).code(EXIT_DONE).stdout;
    assert!(long.starts_with(short), "{long}");
    for line in ["\ncommit: ", "\ntarget: ", "\nSQLite: 3.", "\njournal schema: "] {
        assert!(long.contains(line), "{line:?} is not in {long}");
    }
    for command in ["run", "resume", "resolve", "status", "report", "sandbox", "demo"] {
        let said = bench.run(&[command, "--help"]).code(EXIT_DONE);
        assert!(said.stdout.contains("Usage: deskload"), "{}", said.stdout);
    }
}

#[test]
fn a_machine_s_trouble_is_told_without_the_inside() {
    let bench = Bench::new();
    bench.rows(1..=3);
    bench.file("noise", "this is no database, ".repeat(100));
    let said = bench.run(&["run", "rows.csv", "--journal", "noise"]).code(EXIT_MACHINE);
    for_people(&said.stderr);
}
