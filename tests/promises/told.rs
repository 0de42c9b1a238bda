//! The last line says what to do next, with the exact command: here it is given to a shell, word for word.

use deskload::error::{EXIT_ATTENTION, EXIT_DONE, EXIT_EARLY};
use deskload::sandbox::{Fate, Reply, When};

use crate::support::{Bench, Output, closing_time};

/// Gives a shell the command behind `what` in the last lines.
fn obey(bench: &Bench, said: &Output, what: &str) -> Output {
    let command =
        |line: &str| line.split_once(&format!("{what}: deskload ")).map(|(_, words)| words.to_owned());
    let told = said.stderr.lines().rev().take(3).find_map(command);
    let told = told.unwrap_or_else(|| panic!("no command behind {what:?} in:\n{}", said.stderr));
    let command = told.split(" (or ").next().unwrap();
    bench.shell(&format!("\"$DESKLOAD\" {command}"), None)
}

/// A file and a journal whose names a shell would take apart, a column of another name, a profile.
const BEGUN: &str = "--journal 'the journal' --report-dir='my reports' --config my.toml --profile night --concurrency 1 \
                     --map 'staff=Case Owner' --ignore-unknown --limit 9 --max-wait 990ms";

fn prepared(fates: impl Into<Vec<Fate>>) -> Bench {
    let bench = Bench::scripted(fates);
    bench.file("my.toml", "[profile.night]\nmax_failures = \"100%\"\n");
    bench.file("it's mine.csv", "ticket_id,Case Owner,x\n1,ST1,\n2,ST2,\n3,ST3,\n4,ST4,\n");
    bench
}

#[test]
fn each_last_line_is_a_command_that_does_what_it_says() {
    let refused = Fate::new(When::Ticket(2), Reply::error(200, "no such owner"));
    let doubt = Fate::new(When::Ticket(1), Reply::status(500));
    let bench = prepared([closing_time(3), refused, doubt]);
    let stopped = bench.shell(&format!("\"$DESKLOAD\" run \"it's mine.csv\" {BEGUN}"), None).code(EXIT_EARLY);
    let done = obey(&bench, &stopped, "to go on").code(EXIT_ATTENTION);
    assert_eq!(bench.desk().applied, 2, "{}", done.stderr);
    let in_doubt = bench.path("my reports/run-1/in-doubt.csv");
    assert!(in_doubt.exists());
    let settled = obey(&bench, &done, "at the desk, then").code(EXIT_DONE);
    assert!(in_doubt.exists(), "a word alone writes no report");
    let told = obey(&bench, &settled, "to write the reports anew").code(EXIT_DONE);
    assert!(!in_doubt.exists());
    let again = obey(&bench, &told, "run-1/failures.csv, then").code(EXIT_DONE);
    assert_eq!(bench.desk().applied, 3, "{}", again.stderr);
    assert!(bench.path("my reports/run-2/summary.json").exists());
    assert!(!bench.path("deskload-reports").exists() && !bench.path("deskload/journal.sqlite3").exists());
}

#[test]
fn what_came_by_a_pipe_goes_on_with_the_same_flags() {
    let bench = prepared([closing_time(3)]);
    let stopped = bench.shell(&format!("cat *.csv | \"$DESKLOAD\" run - {BEGUN}"), None).code(EXIT_EARLY);
    obey(&bench, &stopped, "to go on").code(EXIT_DONE);
    assert_eq!(bench.desk().applied, 4);
}

#[test]
fn a_retry_that_was_stopped_and_a_word_to_send_again_go_on_as_told() {
    let refused = |ticket| Fate::new(When::Ticket(ticket), Reply::error(200, "not now"));
    let bench = prepared([closing_time(6), refused(1), refused(2), refused(3), refused(4)]);
    bench.shell(&format!("\"$DESKLOAD\" run \"it's mine.csv\" {BEGUN}"), None).code(EXIT_ATTENTION);
    let retry = "\"$DESKLOAD\" retry 1 --journal 'the journal' --report-dir 'my reports' --concurrency 1 --max-wait 990ms";
    let stopped = bench.shell(retry, None).code(EXIT_EARLY);
    obey(&bench, &stopped, "to go on").code(EXIT_DONE);
    assert_eq!(bench.desk().applied, 4);
    let doubt = Bench::scripted([Fate::new(When::Ticket(1), Reply::status(500))]);
    doubt.rows([1]);
    doubt.run(&["run", "rows.csv", "--journal", "j"]).code(EXIT_ATTENTION);
    let settled = doubt.run(&["resolve", "--resend", "--journal", "j"]).code(EXIT_DONE);
    obey(&doubt, &settled, "1 row left to send; to go on").code(EXIT_DONE);
    assert_eq!(doubt.desk().applied, 1);
}
