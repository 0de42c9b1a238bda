//! Spreadsheets as they are, without the way through CSV: what Excel shows is what is sent, or the row is invalid.

use std::io::Write as _;

use deskload::error::{EXIT_ATTENTION, EXIT_DONE, EXIT_INPUT, EXIT_USAGE};
use zip::write::SimpleFileOptions;

use crate::support::{Bench, closing_time, one_at_a_time};

/// A file of the fixtures.
pub(super) fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// A bench with the fixture as `a.xlsx`.
fn with_tickets(bench: Bench) -> Bench {
    bench.file("a.xlsx", fixture("tickets.xlsx"));
    bench
}

const ALL: [&str; 2] = ["--max-failures", "100%"];

/// A workbook with one sheet, of these XML rows.
pub(super) fn workbook(rows: &str) -> Vec<u8> {
    let kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    let relation = |to: &str, target: &str| {
        format!(
            "<Relationships><Relationship Id=\"a\" Type=\"{kind}/{to}\" Target=\"{target}\"/></Relationships>"
        )
    };
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, text) in [
        ("[Content_Types].xml", "<Types/>".to_owned()),
        ("_rels/.rels", relation("officeDocument", "xl/workbook.xml")),
        ("xl/_rels/workbook.xml.rels", relation("worksheet", "worksheets/sheet1.xml")),
        (
            "xl/workbook.xml",
            "<workbook><sheets><sheet name=\"A\" r:id=\"a\"/></sheets></workbook>".to_owned(),
        ),
        ("xl/worksheets/sheet1.xml", format!("<worksheet>{rows}</worksheet>")),
    ] {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn row(cells: &[&str]) -> String {
    let cell = |text: &&str| format!("<c t=\"inlineStr\"><is><t xml:space=\"preserve\">{text}</t></is></c>");
    format!("<row>{}</row>", cells.iter().map(cell).collect::<String>())
}

/// A workbook with one sheet, of these cells.
pub(super) fn sheet(rows: &[&[&str]]) -> Vec<u8> {
    let rows: String = rows.iter().map(|cells| row(cells)).collect();
    workbook(&format!("<sheetData>{rows}</sheetData>"))
}

#[test]
fn what_a_spreadsheet_shows_reaches_the_desk() {
    let bench = with_tickets(Bench::new());
    let output = bench.run(&["run", "a.xlsx", ALL[0], ALL[1]]).code(EXIT_ATTENTION);
    output.says("sheet \"Tickets\", the first of several");
    assert_eq!(bench.counts(1), [4, 0, 6, 0, 0, 0]);
    let judge = bench.judge();
    let order = |ticket| judge.order(ticket)[0].clone();
    let fields = |seven: &str, eight: &str| {
        format!(
            r#""custom_fields":[{{"id":"CF007-07","value":"{seven}"}},{{"id":"CF007-08","value":"{eight}"}}]"#
        )
    };
    let (date, time) = (fields("2026-11-26", "0.3"), fields("2026-11-26T22:30:00", "TRUE"));
    let (subject, text) = (r#""subject":"Größe \"L\", rot""#, r#""subject":"two\nlines""#);
    assert_eq!(order(3001), format!(r#"{{{subject},"staff":"ST007-001","priority":"high",{date}}}"#).into());
    assert_eq!(order(3002), format!(r#"{{{text},"staff":"ST007-002","priority":"low",{time}}}"#).into());
    let long = fields("00012345678901234567", "36:30:00");
    assert_eq!(order(3006), format!(r#"{{"staff":"ST007-004","priority":"normal",{long}}}"#).into());
}

#[test]
fn an_invalid_row_names_its_cell_as_the_spreadsheet_does() {
    let bench = with_tickets(Bench::new());
    let checked = bench.run(&["check", "a.xlsx"]).code(EXIT_DONE);
    checked
        .says("row 3, cell B6: #N/A is a spreadsheet")
        .says("row 4, cell A7: the number 12345678901234570000 has more digits than the 15")
        .says("row 5, cell D8: the formula was saved without its result")
        .says("row 7, cell A10: the ticket id is blank")
        .says("12 | 3007,,urgent,no such priority,,\n   |       ^^^^^^")
        .says("row 10: H13 holds something, and the header ends at F");
    bench.file("b.xlsx", sheet(&[&["ticket_id", "subjct"], &["1", "a"]]));
    bench
        .run(&["run", "b.xlsx"])
        .code(EXIT_INPUT)
        .says("b.xlsx: cell B1: \"subjct\" is not a field; did you mean");
    let checked = bench.run(&["check", "--json", "a.xlsx"]).code(EXIT_DONE);
    assert!(checked.stdout.contains(r#""format":"xlsx""#), "{}", checked.stdout);
    assert!(checked.stdout.contains(r#""column":2,"name":"staff","at_line":6"#), "{}", checked.stdout);
}

#[test]
fn what_libreoffice_saves_is_read_the_same() {
    let bench = Bench::new();
    bench.file("a.xlsx", fixture("tickets-libreoffice.xlsx"));
    bench.run(&["run", "a.xlsx", ALL[0], ALL[1]]).code(EXIT_ATTENTION);
    // It has calculated the one formula that has no result in the other.
    assert_eq!(bench.counts(1), [5, 0, 5, 0, 0, 0]);
    assert_eq!(bench.judge().order(3004), [r#"{"subject":"NO RESULT WAS SAVED","priority":"high"}"#.into()]);
}

#[test]
fn failures_of_a_spreadsheet_are_a_csv_that_is_an_input_again() {
    let bench = with_tickets(Bench::new());
    bench.run(&["run", "a.xlsx", ALL[0], ALL[1]]).code(EXIT_ATTENTION);
    let failures = bench.read("deskload-reports/run-1/failures.csv");
    assert!(failures.starts_with("\u{feff}ticket_id,staff,priority,"), "{failures}");
    assert!(
        failures.contains("\n3003,#N/A,high,a look-up that found nothing,,,1,3,invalid,invalid,\"cell B6 "),
        "{failures}"
    );
    // What was not corrected is as invalid as before.
    bench.file("b.csv", &failures);
    let bench = bench.set("DESKLOAD_SHEET", "Tickets");
    let said = bench.run(&["run", "b.csv", ALL[0], ALL[1]]).code(EXIT_ATTENTION);
    said.says("the sheet 'Tickets' of the profile or the environment means nothing here");
    assert_eq!(bench.desk().applied, 5, "the row with a note, which is in its message now, and no other");
    let corrected = failures.replace("3003,#N/A", "3003,ST007-009").replace("urgent,", "high,");
    bench.file("c.csv", corrected);
    bench.run(&["run", "c.csv", ALL[0], ALL[1]]).code(EXIT_ATTENTION);
    assert_eq!(bench.desk().applied, 7);
    assert!(bench.judge().order(3003)[0].contains("ST007-009"));
}

#[test]
fn a_sheet_that_is_typed_for_what_is_no_spreadsheet_is_refused() {
    let bench = with_tickets(Bench::new());
    bench.rows(1..=3);
    for (words, what) in [
        (&["run", "rows.csv"][..], "rows.csv is not read as one; leave out --sheet"),
        (&["check", "rows.csv"], "rows.csv is not read as one; leave out --sheet"),
        (
            &["run", "a.xlsx", "--format", "csv"],
            "a.xlsx is not read as one, as --format says; leave out --sheet",
        ),
        (&["run", "-"], "standard input is not read as one; leave out --sheet, or say --format xlsx"),
    ] {
        bench.run(&[words, &["--sheet", "Tickets"]].concat()).code(EXIT_USAGE).says(what);
    }
    assert_eq!(bench.desk().requests, 0);
    // What is said for all inputs is not meant for this one.
    bench.file("config.toml", "[profile.a]\nsheet = 'Tickets'\n");
    let profile = ["run", "rows.csv", "--config", "config.toml", "--profile", "a"];
    bench
        .run(&profile)
        .code(EXIT_DONE)
        .says("the sheet 'Tickets' of the profile or the environment means nothing here");
}

#[test]
fn two_sheets_of_a_file_are_two_runs() {
    let bench = with_tickets(Bench::scripted([closing_time(2)]));
    bench.run(&one_at_a_time("a.xlsx", &ALL)).code(5);
    let other = ["run", "a.xlsx", "--sheet", "Old tickets"];
    bench
        .run(&other)
        .code(EXIT_USAGE)
        .says("--sheet Old tickets was the first sheet when the run was started");
    bench.run(&["resume"]).code(EXIT_ATTENTION);
    bench.run(&other).code(EXIT_DONE);
    bench.run(&["run", "a.xlsx", "--sheet", "old TICKETS"]).code(EXIT_DONE).says("nothing left to do");
    assert_eq!(bench.counts(2), [1, 0, 0, 0, 0, 0]);
    assert_eq!(bench.judge().order(3100), [r#"{"subject":"from the second sheet"}"#.into()]);
    let wrong = bench.run(&["run", "a.xlsx", "--sheet", "Tikets"]).code(EXIT_INPUT);
    wrong.says("the workbook has \"Tickets\", \"Old tickets\"; did you mean --sheet 'Tickets'?");
}

#[test]
fn a_run_goes_on_over_cells_with_line_breaks_and_keeps_the_sheets_rows() {
    let bench = Bench::scripted([closing_time(1_200)]);
    let ids: Vec<String> = (1..=1_300).map(|id| id.to_string()).collect();
    let mut rows: Vec<[&str; 2]> = ids.iter().map(|id| [id.as_str(), "a\nb\n\nc"]).collect();
    rows[1_249][0] = "#1250";
    let mut all: Vec<&[&str]> = vec![&["ticket_id", "subject"]];
    all.extend(rows.iter().map(|row| &row[..]));
    bench.file("a.xlsx", sheet(&all));
    bench.run(&one_at_a_time("a.xlsx", &[])).code(5);
    bench.run(&["run", "a.xlsx"]).code(EXIT_ATTENTION);
    assert_eq!(bench.counts(1), [1_299, 0, 1, 0, 0, 0]);
    assert!(bench.read("deskload-reports/run-1/failures.csv").contains("cell A1251 (ticket_id)"));
    assert_eq!(bench.judge().order(1_300), [r#"{"subject":"a\nb\n\nc"}"#.into()]);
}

#[test]
fn a_spreadsheet_comes_by_standard_input_too_if_that_is_said() {
    let bench = with_tickets(Bench::new());
    bench.shell("\"$DESKLOAD\" run - < a.xlsx", None).code(EXIT_INPUT).says("say --format xlsx");
    bench.shell("\"$DESKLOAD\" run - --format xlsx --sheet 'Old tickets' < a.xlsx", None).code(EXIT_DONE);
    assert_eq!(bench.desk().applied, 1);
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(&fixture("tickets.xlsx")).unwrap();
    bench.file("a.xlsx.gz", packer.finish().unwrap());
    bench.run(&["check", "a.xlsx.gz", "--sheet", "Old tickets"]).code(EXIT_DONE).says("packed with gzip");
}

#[test]
fn what_is_taken_for_a_spreadsheet_and_is_none_is_told_with_what_to_do() {
    let bench = with_tickets(Bench::new());
    let refused = |name: &str, bytes: &[u8], says: &str| {
        bench.file(name, bytes);
        bench.run(&["run", name]).code(EXIT_INPUT).says(&format!("{name}: ")).says(says).never_says("bug");
    };
    refused("a.csv", &fixture("tickets.xlsx"), "say --format xlsx, or end its name in .xlsx");
    refused("b.xlsx", b"ticket_id,subject\n1,a\n", "no spreadsheet (.xlsx), whatever its name says");
    refused("c.xlsx", b"", "the input is empty");
    for name in ["d.xls", "d.xlsx"] {
        refused(name, b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1 and so on", "one with a password; open it");
    }
    let mut ods = b"PK\x03\x04".to_vec();
    ods.extend([0; 26]);
    ods.extend(b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet");
    refused("e.ods", &ods, "OpenDocument file (.ods); save it as .xlsx");
    refused("f.xlsx", &fixture("tickets.xlsx")[..3_000], "damaged, cut short");
    refused("g.xlsx", &workbook("<sheetData/>"), "the sheet is empty");
    // calamine panics on this in a debug build: nobody sees it.
    refused("h.xlsx", &workbook("<dimension ref=\"B2:A1\"/><sheetData/>"), "");
    assert_eq!(bench.desk().requests, 0);
    assert!(bench.files().iter().all(|path| !path.to_string_lossy().contains(".spool/")), "no copy is left");
}

#[test]
fn an_error_of_a_spreadsheet_in_a_csv_is_never_sent() {
    let bench = Bench::new();
    bench.file("a.csv", "ticket_id,subject,note\n1, #REF! ,x\n2,#1 in town,#N/A\n");
    bench.run(&["run", "a.csv", "--ignore", "note"]).code(EXIT_ATTENTION).says("#REF! is a spreadsheet");
    assert_eq!(bench.judge().order(2), [r##"{"subject":"#1 in town"}"##.into()]);
    assert_eq!(bench.desk().requests, 1);
}
