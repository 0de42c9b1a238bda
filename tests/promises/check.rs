//! `check` and `run --dry-run` say what is wrong and what would be sent, and send nothing.

use std::fs;
use std::path::Path;

use deskload::error::{EXIT_DONE, EXIT_GUARD, EXIT_INPUT, EXIT_USAGE};
use serde_json::{Value, json};

use crate::support::{Bench, TOKEN, csv};

/// A bench without account and token.
fn nobody() -> Bench {
    Bench::new().unset("DESKLOAD_TOKEN").unset("DESKLOAD_ACCOUNT_EMAIL")
}

fn fixture(bench: &Bench, name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    bench.file(name, fs::read(path).unwrap());
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

fn object(stdout: &str) -> Value {
    serde_json::from_str(stdout).unwrap_or_else(|error| panic!("not one object ({error}):\n{stdout}"))
}

const MESSY: &str = r#"input    messy-export.csv, CSV with ','
rows     17
invalid  9
tickets  7; 1 with several rows, sent in the order of the file, the most 2 (ticket 1001)

field        value                                                                  rows
subject      (6 values, such as Cannot sign in after the password reset)               6
description  (4 values, such as Amelia Hart called: 1. reset sent 2. link expired)     4
staff                                                                                  5
             ST007-014                                                                 2
             ST007-021                                                                 2
             ST007-009                                                                 1
priority                                                                               6
             high                                                                      2
             normal                                                                    2
             low                                                                       2

the first requests
row 1, line 2
{"account_email":"(no account named)","token":"(hidden)","ticket_id":1001,"subject":"Cannot sign in after the password reset","description":"Amelia Hart called:\r\n1. reset sent\r\n2. link expired","staff":"ST007-009","priority":"high"}
row 2, line 5
{"account_email":"(no account named)","token":"(hidden)","ticket_id":1002,"subject":"Invoice 20931, wrong VAT","description":"She said \"by Friday, please\"","staff":"ST007-014","priority":"normal"}
row 8, line 12
{"account_email":"(no account named)","token":"(hidden)","ticket_id":1008,"subject":"=HYPERLINK(\"http://198.51.100.7/\",\"open\")","staff":"ST007-021","priority":"low"}

"#;

#[test]
fn a_messy_export_is_shown_as_it_is() {
    let bench = nobody();
    fixture(&bench, "messy-export.csv");
    let checked = bench.run(&["check", "messy-export.csv", "--rate", "4/s"]).code(EXIT_DONE);
    assert!(checked.stdout.starts_with(MESSY), "{}", checked.stdout);
    says(
        &checked.stdout,
        &["\nrequests  8\n", "4/s, which is the limit that binds", "after 2s at the least"],
    );
    let told = [
        "invalid: row 4: \"urgent\" is not a priority: high, normal or low\n \
         --> messy-export.csv:7:17\n  |\n7 | 01004,ST007-021,urgent,Quiz results are missing,\n  |                 ^^^^^^\n",
        "invalid: row 3: \"1003.0\" is not a ticket id",
        " --> messy-export.csv:6:1\n",
        "14 | #1010,ST007-009,high,Reports time out on Mondays,\n   | ^^^^^\n",
        "the row has too few cells",
    ];
    says(&checked.stderr, &told);
    assert_eq!(checked.stderr.matches("invalid: row ").count(), 9);
}

#[test]
fn nothing_is_sent_kept_or_needed() {
    let bench = nobody();
    bench.rows(1..=5);
    bench.run(&["check", "rows.csv"]).code(EXIT_DONE);
    bench.run(&["run", "--dry-run", "rows.csv"]).code(EXIT_DONE);
    bench.pipe(&csv(1..=5), &["check", "-"]).code(EXIT_DONE);
    assert_eq!(bench.desk().requests, 0);
    assert_eq!(bench.files(), [bench.path("rows.csv")]);
}

#[test]
fn a_dry_run_says_the_same_to_the_letter() {
    let bench = Bench::new();
    fixture(&bench, "messy-export.csv");
    let args = ["messy-export.csv", "--set", "inbox=IB238-436"];
    let checked = bench.run(&[&["check"], &args[..]].concat()).code(EXIT_DONE);
    let dry = bench.run(&[&["run", "--dry-run", "--yes"], &args[..]].concat()).code(EXIT_DONE);
    assert_eq!((checked.stdout, checked.stderr), (dry.stdout, dry.stderr));
}

#[test]
fn the_token_is_hidden_and_the_bodies_are_those_that_are_sent() {
    let bench = Bench::new();
    bench.file("rows.csv", "ticket_id,staff,custom_fields.CF007-07\n7,ST007-009,Micro\n");
    let checked = bench.run(&["check", "--json", "rows.csv"]).code(EXIT_DONE);
    assert!(!checked.stdout.contains(TOKEN) && !checked.stderr.contains(TOKEN));
    let body = &object(&checked.stdout)["samples"][0]["body"];
    let change = json!({"staff": "ST007-009", "custom_fields": [{"id": "CF007-07", "value": "Micro"}]});
    let mut expected = json!({"account_email": "ops@example.com", "token": "(hidden)", "ticket_id": 7});
    expected.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    assert_eq!(*body, expected);
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    let sent: Value = serde_json::from_str(bench.judge().order(7)[0].as_ref()).unwrap();
    assert_eq!(sent, change);
}

#[test]
fn a_program_gets_one_object_whatever_comes_of_it() {
    let bench = nobody();
    fixture(&bench, "messy-export.csv");
    let told = |args: &[&str], code| {
        let output = bench.run(&[&["check", "--json", "messy-export.csv"], args].concat()).code(code);
        object(&output.stdout)
    };
    let whole = told(&[], EXIT_DONE);
    assert_eq!(
        (&whole["event"], &whole["input"]["rows"], &whole["input"]["invalid"], &whole["requests"]),
        (&json!("check"), &json!(17), &json!(9), &json!(8))
    );
    let second = &whole["invalid_rows"][1];
    assert_eq!(
        (&second["row"], &second["column"], &second["name"], &second["at_line"], &second["at_character"]),
        (&json!(4), &json!(3), &json!("PRIORITY"), &json!(7), &json!(17))
    );
    assert_eq!(whole["fields"][2]["values"][0], json!({"value": "ST007-014", "rows": 2, "first_line": 5}));
    let strict = told(&["--strict"], EXIT_INPUT);
    assert!(strict["refused"].as_str().unwrap().contains("9 of 17 rows cannot be sent"), "{strict}");
    let guarded = told(&["--max-updates", "7"], EXIT_GUARD);
    assert_eq!((&guarded["exit_code"], &guarded["requests"]), (&json!(7), &json!(8)));
    bench.file("bad.csv", "ticket_id,owner\n7,x\n");
    let bad = bench.run(&["check", "--json", "bad.csv"]).code(EXIT_INPUT);
    assert_eq!(object(&bad.stdout)["exit_code"], json!(6));
}

#[test]
fn an_input_that_cannot_be_used_names_every_column_at_once() {
    let bench = nobody();
    bench.file("rows.csv", "ticket_id,stff,Subjct,Colour,priority\n7,a,b,c,high\n");
    let bad = bench.run(&["check", "rows.csv"]).code(EXIT_INPUT);
    assert_eq!(bad.stdout, "");
    says(
        &bad.stderr,
        &[
            "rows.csv: line 1, column 2: \"stff\" is not a field; did you mean staff?",
            "\n  nor is column 3, \"Subjct\"; did you mean subject?",
            "\n  nor is column 4, \"Colour\"",
        ],
    );
    bench.file("empty.csv", "");
    bench.run(&["check", "empty.csv"]).code(EXIT_INPUT).says("the input is empty");
    bench.run(&["check", "no.csv"]).code(EXIT_USAGE).says("no.csv");
}

#[test]
fn guards_and_strict_refuse_as_a_run_does() {
    let bench = nobody();
    bench.file("rows.csv", "ticket_id,priority\n7,high\n8,urgent\n");
    bench.run(&["check", "rows.csv"]).code(EXIT_DONE);
    bench.run(&["check", "rows.csv", "--strict"]).code(EXIT_INPUT).says("1 of 2 rows cannot be sent");
    bench.run(&["check", "rows.csv", "--expect-rows", "3.."]).code(EXIT_GUARD).says("--expect-rows");
    let refused = bench.run(&["run", "--dry-run", "rows.csv", "--max-updates", "0"]).code(EXIT_GUARD);
    refused.says("--max-updates");
}

#[test]
fn a_wrong_owner_a_twin_and_a_formula_stand_out() {
    let bench = nobody();
    let rows = (1..=9).map(|id| format!("{id},ST007-00{id},x\n")).collect::<Vec<_>>().concat();
    bench.file("rows.csv", format!("ticket_id,staff,subject\n{rows}9,ST007-009,x\n11,Amelia Hart,x\n"));
    let checked = bench.run(&["check", "rows.csv"]).code(EXIT_DONE);
    says(
        &checked.stderr,
        &[
            "warning: staff \"Amelia Hart\" (1 row of this shape, the first on line 12)",
            "equal to an earlier row: 1 row",
        ],
    );
    says(&checked.stdout, &["         ST007-009       2\n", "         Amelia Hart     1\n"]);
}

#[test]
fn a_run_warns_of_ids_that_a_spreadsheet_has_spoiled_too_and_once() {
    let bench = Bench::new();
    let rows = (1..=9).map(|id| format!("{id},ST007-00{id},IB238-436\n")).collect::<Vec<_>>().concat();
    bench.file("rows.csv", format!("ticket_id,staff,inbox\n{rows}10,ST7-9,1.2E+07\n11,ST7-9,IB238-436\n"));
    let staff = "staff \"ST7-9\" (2 rows of this shape, the first on line 11) does not look like the others, \"ST007-001\"";
    let inbox = "inbox \"1.2E+07\" (1 row of this shape, the first on line 11) does not look like the others, \"IB238-436\"";
    for run in [&["check"][..], &["run", "--dry-run"], &["run", "--limit", "3"]] {
        let told = bench.run(&[run, &["rows.csv"]].concat()).stderr;
        assert_eq!((told.matches(staff).count(), told.matches(inbox).count()), (1, 1), "{run:?}: {told}");
    }
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE).never_says("does not look like");
}

#[test]
fn invalid_rows_have_an_end_and_their_text_is_harmless() {
    let bench = nobody();
    let bad = "7,\u{1b}[31m\u{202e}x,urgent\n".repeat(14);
    bench.file("rows.csv", format!("ticket_id,subject,priority\n8,\u{1b}]0;t\u{7}\u{202e}y,low\n{bad}"));
    let checked = bench.run(&["check", "rows.csv"]).code(EXIT_DONE);
    assert_eq!(checked.stderr.matches("invalid: row ").count(), 10);
    says(
        &checked.stderr,
        &["and 4 rows more that are invalid", "3 | 7,\u{FFFD}[31m\u{FFFD}x,urgent\n  |           ^^^^^^"],
    );
    for text in [&checked.stdout, &checked.stderr] {
        assert!(!text.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{text}");
    }
    says(&checked.stdout, &[r#""subject":"\u001b]0;t\u0007\u202ey""#]);
}

#[test]
fn a_quiet_check_says_what_is_wrong_alone() {
    let bench = nobody();
    bench.rows(1..=3);
    let quiet = bench.run(&["check", "-q", "rows.csv"]).code(EXIT_DONE);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
}

#[test]
fn the_finish_is_told_with_its_zone_and_its_window() {
    let bench = nobody();
    bench.rows(1..=7_200);
    let checked = bench.run(&["check", "rows.csv", "--rate", "5/s,60/min"]).code(EXIT_DONE);
    says(
        &checked.stdout,
        &["of these, 60/min is the limit that binds", "after 2h 0m at the least, ", " UTC if it starts now"],
    );
    let args = [
        "check",
        "--json",
        "rows.csv",
        "--rate",
        "1/h",
        "--window",
        "22:00-23:00",
        "--time-zone",
        "Europe/Berlin",
    ];
    let told = object(&bench.run(&args).code(EXIT_DONE).stdout);
    assert_eq!(told["takes_seconds"], json!(7_200 * 3_600));
    // An hour a night: as many openings as there are rows, or one less if it is open now.
    assert!([7_199, 7_200].contains(&told["window_openings"].as_u64().unwrap()), "{told}");
    assert!(told["finishes_at"].as_str().unwrap().ends_with("[Europe/Berlin]"));
}

#[test]
fn what_a_profile_says_counts() {
    let bench = nobody();
    bench.file(
        "config.toml",
        "default_profile = 'a'\n[profile.a]\nmap = { ticket_id = 'Case' }\nrate = '2/s'\n",
    );
    bench.file("rows.csv", "Case,priority\n7,high\n");
    let checked = bench.run(&["check", "--config", "config.toml", "rows.csv"]).code(EXIT_DONE);
    says(&checked.stdout, &["2/s, which is the limit that binds"]);
}

#[test]
fn what_may_not_be_meant_is_told_to_a_program_as_data() {
    let bench = Bench::new();
    let rows = "ticket_id,staff\n1,ST007-001\n1,ST007-001\n2,ST007-002\n3,ST007-003\n4,anna\n";
    bench.file("rows.csv", rows);
    let of = |output: &str, event: &str| -> Vec<serde_json::Value> {
        let lines = output.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.filter(|line| line["event"] == event).collect()
    };
    let checked = bench.run(&["check", "rows.csv", "--json", "--set", "priority=low"]).code(EXIT_DONE);
    let told = of(&checked.stdout, "check").remove(0);
    let warnings = told["warnings"].as_array().unwrap();
    let kinds: Vec<&str> = warnings.iter().map(|warning| warning["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["suspicious_ids", "identical_rows", "set_in_every_row"], "{told}");
    assert_eq!((&warnings[1]["rows"], &told["rate_is_guess"]), (&1.into(), &false.into()), "{told}");
    assert!(warnings[0]["text"].as_str().unwrap().contains("anna"), "{told}");
    let run = bench.run(&["run", "rows.csv", "--json"]).code(EXIT_DONE);
    let [ids, twins] = &of(&run.stdout, "warning")[..] else { panic!("{}", run.stdout) };
    assert_eq!((&ids["kind"], &ids["rows"]), (&"suspicious_ids".into(), &1.into()), "{ids}");
    assert_eq!(ids["text"], warnings[0]["text"], "as check says it");
    assert_eq!((&twins["kind"], &twins["rows"]), (&"identical_rows".into(), &1.into()), "{twins}");
    assert_eq!(of(&run.stdout, "plan")[0]["rate_is_guess"], false);
}
