//! The token is in the body of each request, and nowhere else. For a desk that echoes it see `faults::credentials`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use deskload::error::{EXIT_ATTENTION, EXIT_CREDENTIALS, EXIT_DONE, EXIT_EARLY, EXIT_INTERRUPT};
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

/// What a child of the program finds out, written where it is searched: its input, its environment, its command line and
/// that of the program.
const SPY: &str = "env >> spied; tr '\\0' ' ' < /proc/$$/cmdline >> spied; \
                   tr '\\0' ' ' < /proc/$PPID/cmdline >> spied; echo >> spied;";

/// Everything that the program made is its owner's alone; the test's own files, and the metrics, which a collector reads
/// as another user, are not among it.
fn private(bench: &Bench, made_elsewhere: &[&str]) -> usize {
    let mut seen = 0;
    for path in bench.files() {
        if made_elsewhere.iter().any(|name| path == bench.path(name)) {
            continue;
        }
        let folders = path.ancestors().skip(1).take_while(|folder| *folder != bench.dir());
        for (path, expected) in
            std::iter::once((path.as_path(), 0o600)).chain(folders.map(|folder: &Path| (folder, 0o700)))
        {
            let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
            // The umask may have taken rights from the owner, too.
            assert_eq!(mode & !expected, 0, "{}: {mode:o}", path.display());
            seen += 1;
        }
    }
    seen
}

#[test]
fn the_token_is_nowhere_whatever_the_program_does() {
    let echo = format!("no such token: {TOKEN}");
    let bench = Bench::scripted([
        Fate::new(When::Ticket(2), Reply::error(404, &echo)),
        Fate::new(When::Ticket(3), Reply::error(500, &echo)),
        Fate::new(When::Request(6), Reply::silence()),
    ]);
    // Beside the folder that is searched, and out of the environment: what a child has, it has from the program.
    fs::write(bench.beside("token"), format!("{TOKEN}\n")).unwrap();
    let bench = bench.unset("DESKLOAD_TOKEN");
    bench.rows(1..=20);
    let spellings = [TOKEN, &TOKEN[..16], &TOKEN[7..]];
    let (ask, finish) = (format!("{SPY} cat ../token"), format!("{SPY} cat >> spied"));
    let flags = [
        "-vv",
        "--log-file",
        "run.log",
        "--metrics-file",
        "desk.prom",
        "--max-failures",
        "9",
        "--concurrency",
        "1",
        "--on-finish",
        &finish,
        "--token-command",
        &ask,
    ];
    let does = |command: &[&str], with: &[&str], code: Option<u8>| {
        let said = bench.run(&[command, with].concat());
        let said = if let Some(code) = code { said.code(code) } else { said };
        nowhere(&bench, &said, &spellings);
        said
    };

    does(&["init"], &[], Some(EXIT_DONE));
    let timeout = [&flags[..], &["--timeout", "10m"]].concat();
    let mut program = bench.start(&[&["run", "rows.csv"][..], &timeout].concat());
    bench.await_requests(&mut program, 6);
    for file in ["cmdline", "environ"] {
        let told = program.told_by_the_system(file);
        assert!(!spellings.iter().any(|spelling| told.contains(spelling)), "{file}: {told}");
    }
    program.signal(Signal::INT);
    program.await_stderr("finishing 1 request under way");
    program.signal(Signal::INT);
    let said = program.finish().code(EXIT_INTERRUPT);
    assert!(bench.path("deskload/journal.sqlite3-wal").exists(), "the write-ahead log is still there");
    nowhere(&bench, &said, &spellings);

    does(&["resume", "1", "--json"], &flags, Some(EXIT_ATTENTION));
    does(&["retry", "1"], &flags, None);
    does(&["resolve", "1", "--skip"], &[], Some(EXIT_DONE));
    for command in
        [&["report", "1"][..], &["status"], &["status", "1"], &["config", "path"], &["run", "--help"]]
    {
        does(command, &[], None);
    }
    does(&["config", "show"], &["--token-file", "../token"], None);
    // The token as most people give it, and a desk of another kind, which writes down what comes.
    let bench = bench.set("DESKLOAD_TOKEN", TOKEN);
    let mut sandbox = bench.start(&["sandbox", "--log", "box.jsonl"]);
    let url = sandbox.first_line();
    let said = bench.run(&["run", "rows.csv", "--url", &url, "-vv", "--on-finish", &finish]);
    nowhere(&bench, &said.code(EXIT_CREDENTIALS), &spellings);
    let told = sandbox.told_by_the_system("cmdline");
    assert!(!told.contains(TOKEN), "{told}");
    sandbox.signal(Signal::TERM);
    nowhere(&bench, &sandbox.finish().code(EXIT_DONE), &spellings);
    nowhere(&bench, &bench.run(&["config", "show"]), &spellings);

    let spied = bench.read("spied");
    assert!(
        spied.matches("DESKLOAD_EXIT_CODE=").count() == 3,
        "the commands at the end were there:\n{spied}"
    );
    assert!(spied.contains("deskload run rows.csv") && spied.contains("\"counts\""), "{spied}");
    assert!(bench.read("run.log").contains("[token]"), "the desk's words were told, without it");
    // What a panic says is looked at in `bug::f54_panic_in_a_task`.
}

#[test]
fn files_are_private_under_every_umask() {
    for umask in ["000", "022", "0077", "0177", "0777"] {
        let bench = Bench::scripted([
            Fate::new(When::Ticket(2), Reply::status(404)),
            Fate::new(When::Ticket(3), Reply::status(500)),
            closing_time(5),
        ]);
        bench.rows(1..=8);
        let command = |line: &str| {
            let said = bench.shell(&format!("umask {umask}; \"$DESKLOAD\" {line}"), None);
            // Whoever is not root cannot work in folders without rights; then nothing may be left open either.
            assert!(said.code.is_some_and(|code| code != 101), "{said:?}");
            private(&bench, &["rows.csv", "desk.prom"])
        };
        command("init");
        let run = "run rows.csv --max-failures 9 --concurrency 1 --max-wait 1m --log-file run.log --metrics-file \
                   desk.prom";
        command(run);
        let seen = command(run);
        command("report 1");
        command("resolve 1 --skip");
        if umask == "000" {
            assert!(
                seen >= 14,
                "journal, spool, account, four reports, log, configuration, their folders: {seen}"
            );
            let sandbox = bench.start_shell("umask 000; exec \"$DESKLOAD\" sandbox --log box.jsonl", None);
            crate::support::until("its log", || bench.path("box.jsonl").exists());
            sandbox.signal(Signal::KILL);
            private(&bench, &["rows.csv", "desk.prom"]);
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
