//! What spreadsheets and exports really look like: other delimiters and encodings, packed, with names for ids.

use deskload::error::{EXIT_ATTENTION, EXIT_DONE, EXIT_INPUT, EXIT_USAGE};
use deskload::sandbox::{Fate, Reply, When};
use flate2::write::GzEncoder;
use std::io::Write as _;

use crate::support::{Bench, closing_time, csv, one_at_a_time};

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(text).unwrap();
    packer.finish().unwrap()
}

fn utf16(text: &str) -> Vec<u8> {
    "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
}

fn subject(bench: &Bench, ticket: u64, text: &str) {
    assert_eq!(bench.judge().order(ticket), [format!("{{\"subject\":\"{text}\"}}").into()]);
}

#[test]
fn the_delimiter_is_seen_in_the_header_and_said() {
    let bench = Bench::new();
    bench.file("a.csv", "\n\"ticket_id\";\"subject\"\n1;a,b\n");
    bench.run(&["run", "a.csv"]).code(EXIT_DONE).says("delimiter ';' (detected)");
    bench.file("b.csv", "ticket_id\tsubject\n2\ta,b\n");
    bench.run(&["run", "b.csv"]).code(EXIT_DONE).says("delimiter tab (detected)");
    bench.file("c.csv", "ticket_id,\"note; long\",subject\n3,x,\"a,b\"\n");
    bench.run(&["run", "c.csv", "--ignore-unknown"]).code(EXIT_DONE).never_says("detected");
    // Both stand outside of quotes, and one of them splits off names that mean something.
    bench.file("d.csv", "ticket_id;subject;size, weight\n4;a,b;x\n");
    bench.run(&["run", "d.csv", "--ignore-unknown"]).code(EXIT_DONE).says("delimiter ';'");
    for ticket in 1..=4 {
        subject(&bench, ticket, "a,b");
    }
}

#[test]
fn a_delimiter_that_is_not_clear_is_asked_for() {
    let bench = Bench::new();
    bench.file("a.csv", "id;who,what\n1;a,b\n");
    bench.run(&["run", "a.csv"]).code(EXIT_INPUT).says("',' and ';'").says("--delimiter");
    assert_eq!(bench.desk().requests, 0);
}

#[test]
fn another_encoding_reaches_the_desk_to_the_letter() {
    let bench = Bench::new();
    bench.file("a.csv", b"ticket_id,subject\n1,Gr\xF6\xDFe \x80\n");
    bench.run(&["run", "a.csv"]).code(EXIT_ATTENTION).says("--encoding windows-1252");
    bench.run(&["run", "a.csv", "--encoding", "windows-1252"]).code(EXIT_DONE);
    subject(&bench, 1, "Größe €");
    bench.file("b.csv", utf16("ticket_id\tsubject\r\n2\tGröße €\r\n"));
    bench.run(&["run", "b.csv"]).code(EXIT_DONE).says("encoding UTF-16LE (detected").says("delimiter tab");
    subject(&bench, 2, "Größe €");
    bench.file("c.jsonl", b"{\"ticket_id\":3,\"subject\":\"Gr\xF6\xDFe \x80\"}\n");
    bench.run(&["run", "c.jsonl", "--encoding", "cp1252"]).code(EXIT_DONE);
    subject(&bench, 3, "Größe €");
}

#[test]
fn a_byte_that_does_not_decode_is_never_replaced() {
    let bench = Bench::new();
    bench.file("a.csv", b"ticket_id,subject\n1,a\n2,b\x81\n");
    let refused = bench.run(&["run", "a.csv", "--encoding", "windows-1252"]).code(EXIT_INPUT);
    refused.says("a.csv: line 3, character 4: the byte 0x81").says("--encoding utf-8");
    bench.run(&["run", "a.csv", "--encoding", "latin-9000"]).code(EXIT_USAGE).says("windows-1252");
    bench.file("c.csv", b"ticket_id,Stra\xDFe\n1,a\n");
    bench.run(&["run", "c.csv"]).code(EXIT_INPUT).says("--encoding windows-1252");
    assert_eq!(bench.desk().requests, 0);
}

#[test]
fn another_encoding_is_another_mapping() {
    let bench = Bench::scripted([closing_time(2)]);
    bench.file("a.csv", b"ticket_id,subject\n1,\xF6\n2,\xF6\n");
    bench.run(&one_at_a_time("a.csv", &["--encoding", "windows-1252"])).code(5);
    let refused = bench.run(&["run", "a.csv", "--encoding", "windows-1250"]).code(EXIT_USAGE);
    refused.says("--encoding windows-1250 was windows-1252 when the run was started");
    bench.run(&["run", "a.csv"]).code(EXIT_USAGE).says("--encoding UTF-8 was windows-1252");
}

#[test]
fn packed_files_are_unpacked_and_known_by_their_bytes() {
    let bench = Bench::new();
    // Two members, as log rotation and `cat` make them.
    let text = csv(1..=3);
    let (one, two) = text.as_bytes().split_at(30);
    bench.file("a.csv.gz", [gzip(one), gzip(two)].concat());
    bench.run(&["run", "a.csv.gz"]).code(EXIT_DONE).says("packed with gzip (detected)");
    assert_eq!(bench.desk().applied, 3);
    bench.run(&["run", "a.csv.gz"]).code(EXIT_DONE).says("nothing left to do");
    bench.file("b.jsonl.gz", gzip(b"{\"ticket_id\":4,\"subject\":\"x\"}\n"));
    bench.run(&["run", "b.jsonl.gz"]).code(EXIT_DONE);
    subject(&bench, 4, "x");
}

#[test]
#[cfg(feature = "zstd")]
fn zstd_is_unpacked_too() {
    let bench = Bench::new();
    bench.file("a.csv.zst", zstd::encode_all(csv(1..=3).as_bytes(), 1).unwrap());
    bench.run(&["run", "a.csv.zst"]).code(EXIT_DONE).says("packed with zstd (detected)");
    assert_eq!(bench.desk().applied, 3);
    let cut = zstd::encode_all(csv(1..=3000).as_bytes(), 1).unwrap();
    bench.file("b.csv.zst", &cut[..cut.len() / 2]);
    bench.run(&["run", "b.csv.zst"]).code(EXIT_INPUT).says("the zstd file is cut short");
}

#[test]
fn an_archive_that_is_cut_short_or_damaged_sends_nothing() {
    let bench = Bench::new();
    let packed = gzip(csv(1..=3000).as_bytes());
    for keep in [5, packed.len() / 2, packed.len() - 1] {
        bench.file("a.csv.gz", &packed[..keep]);
        bench.run(&["run", "a.csv.gz"]).code(EXIT_INPUT).says("a.csv.gz: the gzip file is cut short");
    }
    let mut damaged = packed.clone();
    damaged[packed.len() - 6] ^= 1;
    bench.file("b.csv.gz", damaged);
    bench.run(&["run", "b.csv.gz"]).code(EXIT_INPUT).says("the gzip file is damaged");
    assert_eq!(bench.desk().requests, 0);
}

#[test]
fn failures_open_as_the_input_did_and_are_an_input_themselves() {
    let bench = Bench::new();
    bench.file("a.csv", b"ticket_id;subject\n1;\xF6\n#2;\"\xE4;\xFC\"\n");
    bench.run(&["run", "a.csv", "--encoding", "windows-1252"]).code(EXIT_ATTENTION);
    let failures = bench.read("deskload-reports/run-1/failures.csv");
    assert!(failures.starts_with("\u{feff}ticket_id;subject;_deskload_run;"), "{failures}");
    assert!(failures.contains("\n#2;\"ä;ü\";1;2;invalid;"), "{failures}");
    bench.file("b.csv", failures.replace("#2", "2"));
    // By the same command: the mark says what it is.
    let again = bench.run(&["run", "b.csv", "--encoding", "windows-1252"]).code(EXIT_DONE);
    again.says("encoding UTF-8 (detected by its byte order mark)");
    subject(&bench, 2, "ä;ü");
}

/// An export of a semicolon, Windows-1252 and packed: its failures open in the same program, and go the same way again.
fn packed_failures(name: &str, pack: impl Fn(&[u8]) -> Vec<u8>) {
    let bench = Bench::scripted([Fate::new(When::Ticket(3), Reply::status(500))]);
    bench.file(name, pack(b"ticket_id;subject\n1;\xF6\n#2;\"\xE4;\xFC\"\n3;\xDF\n"));
    bench
        .run(&["run", name, "--encoding", "windows-1252"])
        .code(EXIT_ATTENTION)
        .says("delimiter ';' (detected)");
    assert_eq!(bench.counts(1), [1, 0, 1, 1, 0, 0]);
    let failures = bench.read("deskload-reports/run-1/failures.csv");
    assert!(failures.starts_with("\u{feff}ticket_id;subject;_deskload_run;"), "{failures}");
    assert!(failures.contains("\n#2;\"ä;ü\";1;2;invalid;"), "{failures}");
    let in_doubt = bench.read("deskload-reports/run-1/in-doubt.csv");
    assert!(
        in_doubt.starts_with("\u{feff}ticket_id;") && in_doubt.contains("\n3;ß;1;3;in_doubt;"),
        "{in_doubt}"
    );
    bench.file(name, pack(failures.replace("#2", "2").as_bytes()));
    bench.run(&["run", name, "--encoding", "windows-1252"]).code(EXIT_DONE);
    subject(&bench, 2, "ä;ü");
}

#[test]
fn failures_of_a_gz_open_as_what_was_packed() {
    packed_failures("a.csv.gz", gzip);
}

#[test]
#[cfg(feature = "zstd")]
fn failures_of_a_zst_open_as_what_was_packed() {
    packed_failures("a.csv.zst", |text| zstd::encode_all(text, 1).unwrap());
}

const PEOPLE: &str = "E-mail;Id\r\nanna@example.com;ST007-001\r\nBob@Example.com ;ST007-002\r\n\
                      twin@example.com;ST007-003\r\ntwin@example.com;ST007-004\r\n";

const PROFILE: &str = "default_profile = 'a'\n[profile.a]\nmap = { staff = 'Assignee' }\n\
                       [profile.a.lookup.staff]\nfile = 'people.csv'\nfrom = 'e-mail'\nto = 'id'\n";

/// A bench whose profile finds people's ids.
fn with_people(bench: Bench, profile: &str) -> Bench {
    bench.file("config.toml", profile);
    bench.file("people.csv", PEOPLE);
    bench.set("DESKLOAD_CONFIG", "config.toml")
}

#[test]
fn words_become_ids_by_a_table() {
    let bench = with_people(Bench::new(), PROFILE);
    bench.file("a.csv", "ticket_id,Assignee\n1,ANNA@example.com\n2, bob@example.com \n3,\n4,x\n");
    bench.run(&["run", "a.csv", "--set", "priority=low"]).code(EXIT_ATTENTION);
    assert_eq!(bench.judge().order(1), [r#"{"staff":"ST007-001","priority":"low"}"#.into()]);
    assert_eq!(bench.judge().order(2), [r#"{"staff":"ST007-002","priority":"low"}"#.into()]);
    assert_eq!(bench.judge().order(3), [r#"{"priority":"low"}"#.into()]);
    let inline = "default_profile = 'a'\n[profile.a.lookup]\nstaff = { \"Ann\" = 'ST1' }\n\
                  'custom_fields.CF1' = { small = 'S', 7 = 'L' }\n";
    let bench = with_people(Bench::new(), inline);
    let row = r#"{"ticket_id":1,"staff":"ann","custom_fields":[{"id":"CF1","value":7}]}"#;
    bench.file("a.jsonl", row);
    bench.run(&["run", "a.jsonl"]).code(EXIT_DONE);
    let change = r#"{"staff":"ST1","custom_fields":[{"id":"CF1","value":"L"}]}"#;
    assert_eq!(bench.judge().order(1), [change.into()]);
}

#[test]
fn what_no_table_resolves_is_listed_before_anything_is_sent_and_its_rows_are_invalid() {
    let bench = with_people(Bench::new(), PROFILE);
    let rows = "1,bob@exmaple.com\n2,twin@example.com\n3,anna@example.com\n4,BOB@exmaple.com\n";
    bench.file("a.csv", format!("ticket_id,Assignee\n{rows}"));
    bench
        .run(&["run", "a.csv", "--max-failures", "100%"])
        .code(EXIT_ATTENTION)
        .says("\"bob@exmaple.com\" is not there: 2 rows, the first is row 1 (line 2); the closest is \"bob@example.com\"")
        .says("\"twin@example.com\" stands for several ids (ST007-003, ST007-004): 1 row, the first is row 2 (line 3)");
    assert_eq!(bench.counts(1), [1, 0, 3, 0, 0, 0]);
    let failures = bench.read("deskload-reports/run-1/failures.csv");
    assert!(failures.contains("bob@exmaple.com,1,1,invalid"), "{failures}");
    bench.run(&["run", "a.csv", "--again", "--strict"]).code(EXIT_INPUT);
    assert_eq!(bench.desk().requests, 1);
}

#[test]
fn a_run_goes_on_with_the_table_it_was_started_with() {
    let bench = with_people(Bench::scripted([closing_time(2)]), PROFILE);
    bench.file("a.csv", "ticket_id,Assignee\n1,anna@example.com\n2,bob@example.com\n");
    bench.run(&one_at_a_time("a.csv", &[])).code(5);
    bench.file("people.csv", PEOPLE.replace("ST007-002", "ST007-009"));
    let refused = bench.run(&["run", "a.csv"]).code(EXIT_USAGE);
    refused.says("\"bob@example.com\" is ST007-009, and was ST007-002 when the run was started");
    std::fs::remove_file(bench.path("people.csv")).unwrap();
    std::fs::remove_file(bench.path("config.toml")).unwrap();
    let bench = bench.unset("DESKLOAD_CONFIG");
    bench.run(&["resume"]).code(EXIT_DONE);
    assert_eq!(bench.judge().order(2), [r#"{"staff":"ST007-002"}"#.into()]);
}

#[test]
fn a_table_that_cannot_be_meant_is_refused() {
    let bench = with_people(Bench::new(), PROFILE);
    bench.file("a.csv", "ticket_id,Assignee\n1,anna@example.com\n");
    let refused = |profile: &str, says: &str| {
        bench.file("config.toml", profile);
        bench.run(&["run", "a.csv"]).code(EXIT_USAGE).says(says);
    };
    refused(&PROFILE.replace("e-mail", "mail"), "did you mean from = \"E-mail\"?");
    refused(&PROFILE.replace("people", "persons"), "failed to read it");
    refused(&PROFILE.replace("to = ", "too = "), "did you mean to?");
    refused(&PROFILE.replace("lookup.staff", "lookup.staf"), "did you mean staff?");
    refused(&PROFILE.replace("lookup.staff", "lookup.ticket_id"), "a lookup is for a text field");
    refused(
        &PROFILE.replace("lookup.staff", "lookup.priority"),
        "people.csv: line 2: priority: \"ST007-001\"",
    );
    bench.file("people.csv", "E-mail;Id\nanna@example.com\n");
    refused(PROFILE, "line 2: the row has too few cells");
    assert_eq!(bench.desk().requests, 0);
}

#[test]
fn a_blank_cell_keeps_clears_or_spoils_its_row_a_field_at_a_time() {
    let bench = Bench::new();
    bench.file("a.csv", "ticket_id,phone,subject,name\n1,,s,\n2,5,,n\n");
    let told = |command: &str| {
        let blanks = ["--blank", "phone=clear", "--blank", "Subject=error", "--blank", "name=keep"];
        bench.run(&[&[command, "a.csv"][..], &blanks].concat())
    };
    told("check").code(EXIT_DONE).says("nobody has documented");
    told("run")
        .code(EXIT_ATTENTION)
        .says("nobody has documented")
        .says("line 3, column 3 (subject): subject is blank");
    assert_eq!(bench.judge().order(1), [r#"{"phone":"","subject":"s"}"#.into()]);
    assert_eq!(bench.counts(1), [1, 0, 1, 0, 0, 0]);
    let refused = |blank: &str, says: &str| {
        bench.run(&["run", "a.csv", "--blank", blank]).code(EXIT_USAGE).says(says);
    };
    refused("phone=empty", "FIELD=clear");
    refused("priority=clear", "cannot be cleared");
    refused("ticket_id=keep", "never blank");
    refused("fone=keep", "did you mean phone?");
}

#[test]
fn blanks_are_part_of_the_mapping_and_of_the_profile() {
    let bench = Bench::scripted([closing_time(2)]).set("DESKLOAD_CONFIG", "config.toml");
    bench.file("config.toml", "default_profile = 'a'\n[profile.a]\nblank = { phone = 'clear' }\n");
    bench.file("a.jsonl", "{\"ticket_id\":1,\"phone\":null}\n{\"ticket_id\":2,\"phone\":\" \"}\n");
    bench.run(&one_at_a_time("a.jsonl", &[])).code(5);
    let refused = bench.run(&["run", "a.jsonl", "--blank", "phone=error"]).code(EXIT_USAGE);
    refused.says("--blank phone=error was phone=clear when the run was started");
    let bench = bench.unset("DESKLOAD_CONFIG");
    bench.run(&["resume"]).code(EXIT_DONE);
    assert_eq!(bench.judge().order(2), [r#"{"phone":""}"#.into()]);
}

#[test]
fn custom_fields_are_sent_as_a_string_if_the_profile_says_so() {
    let bench = Bench::new().set("DESKLOAD_CONFIG", "config.toml");
    bench.file("config.toml", "default_profile = 'a'\n[profile.a]\ncustom_fields_as = 'string'\n");
    bench.file("a.csv", "ticket_id,custom_fields.CF1\n1,x\n");
    bench.run(&["run", "a.csv"]).code(EXIT_DONE);
    let change = serde_json::json!({ "custom_fields": "[{\"id\":\"CF1\",\"value\":\"x\"}]" });
    assert_eq!(bench.seen()[0].change, change);
    bench.file("config.toml", "[profile.a]\ncustom_fields_as = 'text'\n");
    bench.run(&["run", "a.csv"]).code(EXIT_USAGE).says("array or string");
}

/// The export of `fixtures/README.md`, in three commands: a profile, a look, a run.
#[test]
fn a_german_spreadsheet_export_reaches_the_desk() {
    let profile = "default_profile = 'a'\n[profile.a]\nencoding = 'windows-1252'\n\
                   map = { ticket_id = 'Ticket', staff = 'Assignee e-mail', subject = 'Betreff' }\n\
                   [profile.a.lookup.staff]\n'anna@example.com' = 'ST007-001'\n'bob@example.com' = 'ST007-002'\n\
                   'zoë@example.com' = 'ST007-003'\n";
    let bench = with_people(Bench::new(), profile);
    let export = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/sheet-export.csv");
    let output = bench.run(&["run", export, "--max-failures", "100%"]).code(EXIT_ATTENTION);
    output.says("delimiter ';' (detected)").says("the closest is \"bob@example.com\"");
    assert_eq!(bench.counts(1), [3, 0, 1, 0, 0, 0]);
    let judge = bench.judge();
    assert_eq!(judge.order(2001), [r#"{"subject":"Rückfrage; dringend","staff":"ST007-001"}"#.into()]);
    assert_eq!(judge.order(2002), [r#"{"subject":"Größe “L” – 5 €","staff":"ST007-002"}"#.into()]);
    assert_eq!(judge.order(2003), [r#"{"subject":"Café","staff":"ST007-003"}"#.into()]);
}
