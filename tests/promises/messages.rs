//! Every error that a person can cause says what, where and what to do: looked at as a whole whenever one changes.
//!
//! Each case stands in `messages/errors.snap` with the command, its exit code and what both streams say; times and
//! places of this machine are folded. A text is changed there by `INSTA_UPDATE=always cargo test messages`, and read.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use deskload::error::{EXIT_ATTENTION, EXIT_DONE, EXIT_EARLY};
use deskload::sandbox::{Fate, Reply, When};

use crate::spreadsheets::{fixture, sheet, workbook};
use crate::support::ledger::lock_account;
use crate::support::{Bench, Output, closing_time, one_at_a_time};

/// What a person did, and the command that did it.
type Case<'a> = (&'a str, &'a [&'a str]);

/// Files that are wrong in one way each.
fn files(bench: &Bench) {
    bench.file("rows.csv", "ticket_id,subject\n1,a\n2,b\n");
    bench.file("no-header.csv", "1001,hello\n1002,world\n");
    bench.file("empty.csv", "");
    bench.file("quote.csv", "ticket_id,subject\n1,\"never closed\n2,b\n");
    bench.file("latin.csv", b"ticket_id,subject\n1,gr\xfc\xdfe\n");
    bench.file("owner.csv", "ticket_id,Ownr,Priorty\n1,A,high\n");
    bench.file("invalid.csv", "ticket_id,priority\n1001.0,high\n2,urgent\n");
    bench.file("noise.sqlite3", "this is no database, ".repeat(100));
    bench.file("plain", "");
    for (name, text, mode) in [
        ("token-open", "secret", 0o644),
        ("token-empty", "\n", 0o600),
        ("token-lines", "one\ntwo\n", 0o600),
        ("broken.toml", "default_profile = \"x\n", 0o600),
        ("unknown.toml", "[profile.x]\nconcurency = 4\n", 0o600),
        ("value.toml", "[profile.x]\nrate = \"fast\"\n", 0o600),
        ("token.toml", "[profile.x]\ntoken = \"secret\"\n", 0o600),
        (
            "lookup.toml",
            "default_profile = \"x\"\n[profile.x.lookup.staff]\nfile = \"staff.csv\"\nfrom = \"Mail\"\nto = \"Id\"\n",
            0o600,
        ),
        ("staff.csv", "E-mail,Id\na@example.com,ST1\n", 0o600),
    ] {
        bench.file(name, text);
        fs::set_permissions(bench.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }
}

/// Files that are not what their names say.
fn disguised(bench: &Bench) {
    bench.file("changes.csv", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n");
    bench.file("changes.jsonl", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n");
    bench.file("changes.xlsx", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n");
    bench.file("picture.csv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR");
    bench.file("program.csv", b"\x7fELF\x02\x01\x01\0");
    bench.file("old.xls", b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1");
    bench.file("letter.csv", b"PK\x03\x04\x14\0\0\0\x08\0word/document.xml");
    bench.file("page.csv", "<!DOCTYPE html>\n<html><head><title>Log in</title></head></html>\n");
    bench.file("wide.csv", b"t\0i\0c\0k\0e\0t\0_\0i\0d\0\n\x001\0\n\0");
    bench.file("list.json", "[{\"ticket_id\":1,\"subject\":\"a\"}]\n");
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(b"[{\"ticket_id\":1,\"subject\":\"a\"}]\n").unwrap();
    bench.file("list.json.gz", packer.finish().unwrap());
    bench.file("lines.csv", "{\"ticket_id\":1,\"subject\":\"a\"}\n");
}

/// Spreadsheets that are wrong in one way each.
fn sheets(bench: &Bench) {
    bench.file("tickets.xlsx", fixture("tickets.xlsx"));
    bench.file("locked.xlsx", b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1");
    bench.file("cut.xlsx", &fixture("tickets.xlsx")[..3_000]);
    bench.file("blank.xlsx", workbook("<sheetData/>"));
    bench.file("owner.xlsx", sheet(&[&["ticket_id", "Ownr"], &["1", "a"]]));
    bench.file("lost.xlsx", sheet(&[&["ticket_id", "staff"], &["1", "#N/A"], &["2", "#REF!"]]));
}

/// The same on every machine and on every day.
fn folded(bench: &Bench, text: &str) -> String {
    let text = text.replace(bench.dir().to_str().unwrap(), "WORK").replace(bench.url(), "DESK");
    let mut out = String::new();
    for line in text.lines() {
        let stamped = line.get(..21).filter(|at| at.ends_with("Z ") && at.starts_with("20"));
        let line = stamped.map_or(line, |at| &line[at.len()..]);
        let mut process = false;
        let words = line.split_inclusive(' ').map(|word| {
            let is_id = std::mem::replace(&mut process, word == "(process ");
            match word {
                _ if is_id => "PID) ".to_owned(),
                _ if word.starts_with("20") && word.as_bytes().get(4) == Some(&b'-') => {
                    word.replace(&word[..10], "DATE")
                }
                _ => word.to_owned(),
            }
        });
        let mut line: String = words.collect();
        if let Some((before, rest)) = line.split_once("worked on for ") {
            let after = rest.split_once(':').map_or("", |(_, after)| after);
            line = format!("{before}worked on for TIME:{after}");
        }
        writeln!(out, "{}", line.trim_end()).unwrap();
    }
    out
}

fn told(out: &mut String, bench: &Bench, (what, args): Case<'_>, said: &Output) {
    let code = said.code.map_or_else(|| "none".to_owned(), |code| code.to_string());
    writeln!(out, "## {what}\n$ deskload {}\nexit {code}", args.join(" ")).unwrap();
    for (stream, text) in [("out", &said.stdout), ("err", &said.stderr)] {
        for line in folded(bench, text).lines() {
            writeln!(out, "{stream}| {line}").unwrap();
        }
    }
    out.push('\n');
}

/// No text shows how the program is made inside, or a number of the system's.
fn assert_for_people(text: &str) {
    for inside in [
        "os error", "Error(", "Err(", "Some(", "Os {", "::", "panicked", "unwrap", "kind:", "rusqlite",
        "serde", "reqwest", "hyper",
    ] {
        assert!(!text.contains(inside), "{inside:?} is in:\n{text}");
    }
    assert!(!text.contains("secret"), "a token is in:\n{text}");
}

#[test]
#[expect(clippy::too_many_lines, reason = "a list")]
fn every_error_that_a_person_can_cause_says_what_where_and_what_to_do() {
    let bench = Bench::new();
    files(&bench);
    disguised(&bench);
    sheets(&bench);
    let bench = bench.set("XDG_CONFIG_HOME", "/nonexistent");
    let mut out = String::new();
    let cases: &[Case<'_>] = &[
        ("an input that is not there", &["run", "nothing.csv"]),
        ("a folder for an input", &["run", "."]),
        ("a file for a folder", &["run", "rows.csv/x.csv"]),
        ("check of an input that is not there", &["check", "nothing.csv"]),
        ("no header", &["run", "no-header.csv"]),
        ("nothing in it", &["run", "empty.csv"]),
        ("a quote that is never closed", &["run", "quote.csv"]),
        ("not UTF-8", &["run", "latin.csv"]),
        ("a PDF", &["run", "changes.csv"]),
        ("a PDF called JSONL", &["run", "changes.jsonl"]),
        ("a PDF called a spreadsheet", &["run", "changes.xlsx"]),
        ("a picture", &["run", "picture.csv"]),
        ("a program", &["run", "program.csv"]),
        ("an old workbook", &["run", "old.xls"]),
        ("a ZIP file that is no spreadsheet", &["run", "letter.csv"]),
        ("a page for an export", &["check", "page.csv"]),
        ("UTF-16 without its mark", &["run", "wide.csv"]),
        ("one JSON list", &["run", "list.json"]),
        ("one JSON list, packed", &["run", "list.json.gz"]),
        ("JSONL called CSV", &["run", "lines.csv"]),
        ("a sheet that is not there", &["run", "tickets.xlsx", "--sheet", "Tikets"]),
        ("a spreadsheet with a password", &["run", "locked.xlsx"]),
        ("a damaged spreadsheet", &["run", "cut.xlsx"]),
        ("a sheet without a cell", &["run", "blank.xlsx"]),
        ("a column of a sheet that means nothing", &["run", "owner.xlsx"]),
        ("cells that hold an error", &["check", "lost.xlsx"]),
        ("cells that hold an error, to be sent", &["run", "lost.xlsx"]),
        ("a sheet of a CSV", &["check", "rows.csv", "--sheet", "Tickets", "--rate", "9/s"]),
        ("columns that mean nothing", &["run", "owner.csv"]),
        (
            "a mapped column that is not there",
            &["run", "owner.csv", "--map", "staff=Owner", "--ignore-unknown"],
        ),
        ("no such column, nor one like it", &["run", "rows.csv", "--map", "staff=Zuständig"]),
        ("a field that is none", &["run", "rows.csv", "--map", "owner=subject"]),
        ("--map without =", &["run", "rows.csv", "--map", "staff"]),
        ("--set to a value that cannot be", &["run", "rows.csv", "--set", "priority=urgent"]),
        ("invalid rows under --strict", &["run", "invalid.csv", "--strict"]),
        ("too few rows", &["run", "rows.csv", "--expect-rows", "9000.."]),
        ("too many updates", &["run", "rows.csv", "--max-updates", "1"]),
        ("an encoding that nobody knows", &["run", "rows.csv", "--encoding", "utf-9"]),
        ("a delimiter that is none", &["run", "rows.csv", "--delimiter", ";;"]),
        ("a rate without its time", &["run", "rows.csv", "--rate", "5"]),
        ("a rate of nothing", &["run", "rows.csv", "--rate", "0/s"]),
        ("a time without its unit", &["run", "rows.csv", "--timeout", "30"]),
        ("a share above all", &["run", "rows.csv", "--max-failures", "250%"]),
        ("a window with one end", &["run", "rows.csv", "--window", "22:00"]),
        ("a window with a time that is none", &["run", "rows.csv", "--window", "25:00-06:00"]),
        ("a window that never opens", &["run", "rows.csv", "--window", "22:00-22:00"]),
        (
            "a zone that nobody knows",
            &["run", "rows.csv", "--window", "22:00-06:00", "--time-zone", "Berlin"],
        ),
        ("rows that are none", &["resolve", "1", "--skip", "--rows", "5-4"]),
        ("an age that is none", &["runs", "prune", "--older-than", "3mo"]),
        ("a command that is none", &["rnu", "rows.csv"]),
        ("a flag that is none", &["run", "rows.csv", "--rat", "5/s"]),
        ("the token on the command line", &["run", "rows.csv", "--token", "x"]),
        ("a token file that is not there", &["run", "rows.csv", "--token-file", "no-token"]),
        ("a token file that others can read", &["run", "rows.csv", "--token-file", "token-open"]),
        ("a token file with nothing in it", &["run", "rows.csv", "--token-file", "token-empty"]),
        ("a token file with two lines", &["run", "rows.csv", "--token-file", "token-lines"]),
        ("a token command that fails", &["run", "rows.csv", "--token-command", "exit 3"]),
        ("a token command that prints nothing", &["run", "rows.csv", "--token-command", "true"]),
        ("half an address", &["run", "rows.csv", "--url", "desk.example.com"]),
        ("plain http to another machine", &["run", "rows.csv", "--url", "http://desk.example.com/"]),
        ("a certificate file that is none", &["run", "rows.csv", "--ca-file", "rows.csv"]),
        ("a certificate file that is not there", &["run", "rows.csv", "--ca-file", "no.pem"]),
        ("a configuration that is not there", &["run", "rows.csv", "--config", "no.toml"]),
        ("a configuration that is no TOML", &["run", "rows.csv", "--config", "broken.toml"]),
        ("a key that nobody knows", &["run", "rows.csv", "--config", "unknown.toml"]),
        ("a key with a wrong value", &["run", "rows.csv", "--config", "value.toml"]),
        ("the token in the configuration", &["run", "rows.csv", "--config", "token.toml"]),
        ("a profile that is not in it", &["run", "rows.csv", "--config", "lookup.toml", "--profile", "y"]),
        ("a profile without a configuration", &["run", "rows.csv", "--profile", "desk"]),
        ("a lookup column that is not there", &["run", "rows.csv", "--config", "lookup.toml"]),
        ("a folder for the journal", &["run", "rows.csv", "--journal", "."]),
        ("a journal below a file", &["run", "rows.csv", "--journal", "plain/journal"]),
        ("a journal that is no database", &["run", "rows.csv", "--journal", "noise.sqlite3"]),
        ("a file for the folder of reports", &["run", "rows.csv", "--report-dir", "plain"]),
        ("a log file in no folder", &["run", "rows.csv", "--log-file", "no/folder.log"]),
        ("init over a file that is there", &["init", "--config", "plain"]),
        ("a sandbox that refuses more than all", &["sandbox", "--fail", "200%"]),
        ("a demo in a file", &["demo", "--dir", "plain"]),
        ("a shell that nobody knows", &["completions", "powershell"]),
        ("status before anything was run", &["status", "--journal", "none.sqlite3"]),
        ("runs before anything was run", &["runs", "--journal", "none.sqlite3"]),
    ];
    for case in cases {
        told(&mut out, &bench, *case, &bench.run(case.1));
    }
    assert_eq!(bench.desk().requests, 0, "nothing of this sends anything");
    let without = bench.unset("DESKLOAD_TOKEN");
    told(&mut out, &without, ("no token", &["run", "rows.csv"]), &without.run(&["run", "rows.csv"]));
    let without = without.unset("DESKLOAD_ACCOUNT_EMAIL");
    told(&mut out, &without, ("no account", &["run", "rows.csv"]), &without.run(&["run", "rows.csv"]));
    assert_for_people(&out);
    snapshot("errors", &out);
}

#[test]
fn every_command_that_comes_at_the_wrong_time_says_what_to_do() {
    let doubt = Fate::new(When::Ticket(9), Reply::status(500));
    let bench = Bench::scripted([doubt, closing_time(4)]);
    files(&bench);
    let mut out = String::new();
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    let again: Case<'_> = ("the same file at once", &["run", "rows.csv"]);
    told(&mut out, &bench, again, &bench.run(again.1));
    bench.file("doubt.csv", "ticket_id,subject\n9,a\n");
    bench.run(&["run", "doubt.csv"]).code(EXIT_ATTENTION);
    bench.file("stopped.csv", "ticket_id,subject\n21,a\n22,b\n");
    bench.run(&one_at_a_time("stopped.csv", &[])).code(EXIT_EARLY);
    let cases: &[Case<'_>] = &[
        ("the same file after another", &["run", "rows.csv"]),
        (
            "another mapping of an unfinished run",
            &["run", "stopped.csv", "--map", "description=subject", "--set", "priority=high"],
        ),
        ("a run that is not there", &["status", "9"]),
        ("several runs that fit", &["status"]),
        ("a run of another desk", &["resume", "3", "--url", "http://127.0.0.1:9/"]),
        ("nothing to retry", &["retry"]),
        ("nothing to retry in this one", &["retry", "1"]),
        ("nothing in doubt", &["resolve", "1", "--applied"]),
        ("a row that is not in doubt", &["resolve", "2", "--applied", "--rows", "7"]),
        ("a word is missing", &["resolve", "2"]),
        ("a file for the folder of reports", &["report", "1", "--report-dir", "plain"]),
        ("pruned with nothing to prune", &["runs", "prune"]),
    ];
    for case in cases {
        told(&mut out, &bench, *case, &bench.run(case.1));
    }
    bench.run(&["runs", "prune", "--older-than", "0d"]).code(EXIT_DONE);
    for case in [
        ("the report of a pruned run", &["report", "1"][..]),
        ("a retry of a pruned run", &["retry", "1"]),
        ("the same file after a prune", &["run", "rows.csv"]),
    ] {
        told(&mut out, &bench, case, &bench.run(case.1));
    }
    let held = lock_account(&bench.path("deskload/accounts"));
    for case in [
        ("another process at work", &["run", "rows.csv"][..]),
        ("another one while pruning", &["runs", "prune"]),
    ] {
        told(&mut out, &bench, case, &bench.run(case.1));
    }
    drop(held);
    assert_for_people(&out);
    snapshot("times", &out);
}

fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("messages");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}
