//! What a sheet becomes, and that no file whatever makes it panic.

use std::fs;
use std::io::{Read as _, Seek as _};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::*;

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/tickets.xlsx");

/// The parts of a workbook with one sheet.
fn parts(sheet: &str) -> Vec<(String, Vec<u8>)> {
    let relations = |of: &str, kind: &str, target: &str| {
        let kind = format!("http://schemas.openxmlformats.org/officeDocument/2006/relationships/{kind}");
        let xml = format!(
            "<Relationships><Relationship Id=\"a\" Type=\"{kind}\" Target=\"{target}\"/></Relationships>"
        );
        (of.to_owned(), xml.into_bytes())
    };
    vec![
        ("[Content_Types].xml".to_owned(), b"<Types/>".to_vec()),
        relations("_rels/.rels", "officeDocument", "xl/workbook.xml"),
        relations("xl/_rels/workbook.xml.rels", "worksheet", "worksheets/sheet1.xml"),
        (
            "xl/workbook.xml".to_owned(),
            b"<workbook><sheets><sheet name=\"One\" r:id=\"a\"/></sheets></workbook>".to_vec(),
        ),
        ("xl/worksheets/sheet1.xml".to_owned(), sheet.as_bytes().to_vec()),
    ]
}

fn rows(rows: &str) -> String {
    format!("<worksheet><sheetData>{rows}</sheetData></worksheet>")
}

fn packed(parts: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(io::Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in parts {
        zip.start_file(name.as_str(), options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn unpacked(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut zip = ZipArchive::new(io::Cursor::new(bytes)).unwrap();
    let count = zip.len();
    let part = |index| {
        let mut part = zip.by_index(index).unwrap();
        let mut bytes = Vec::new();
        part.read_to_end(&mut bytes).unwrap();
        (part.name().unwrap().into_owned(), bytes)
    };
    (0..count).map(part).collect()
}

/// The CSV of a workbook, and what is told of it.
fn converted(bytes: &[u8], sheet: Option<&str>) -> Result<(String, Vec<String>), Error> {
    let folder = tempfile::tempdir().unwrap();
    let mut raw = tempfile::tempfile().unwrap();
    raw.write_all(bytes).unwrap();
    raw.rewind().unwrap();
    let (file, told) = convert(&raw, folder.path(), sheet, b',', &mut || Ok(()))?;
    Ok((fs::read_to_string(file.path()).unwrap(), told))
}

fn csv(sheet: &str) -> String {
    converted(&packed(&parts(sheet)), None).unwrap().0
}

fn refused(bytes: &[u8]) -> String {
    match converted(bytes, None) {
        Err(Error::Input(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_fixture_becomes_a_csv_whose_lines_are_its_rows() {
    let (csv, told) = converted(&fs::read(FIXTURE).unwrap(), None).unwrap();
    let expected = "\n\
        ticket_id,staff,priority,subject,custom_fields.CF007-07,custom_fields.CF007-08\n\
        3001,ST007-001,High,\"Größe \"\"L\"\", rot\",2026-11-26,0.3\n\
        0003002,ST007-002,low,\"two\nlines\",2026-11-26T22:30:00,TRUE\n\
        \n\
        3003,#N/A,high,a look-up that found nothing,,\n\
        #DIGITS! 12345678901234570000,ST007-001,high,an id that has lost its last digits,,\n\
        3004,,high,#CALCULATE!,,\n\
        3005,ST007-003,high,merged with the cell below,,\n\
        ,ST007-003,high,the id stands above,,\n\
        3006,ST007-004,normal,,00012345678901234567,36:30:00\n\
        3007,,urgent,no such priority,,\n\
        3008,,low,a note stands further right,,,,call back\n";
    assert_eq!(csv, expected);
    assert_eq!(told, ["sheet \"Tickets\", the first of several (--sheet names another)"]);
}

#[test]
fn a_sheet_is_found_by_its_name_without_regard_to_case() {
    let fixture = fs::read(FIXTURE).unwrap();
    let (csv, told) = converted(&fixture, Some(" OLD tickets")).unwrap();
    assert_eq!((csv.as_str(), told.len()), ("ticket_id,subject\n3100,from the second sheet\n", 0));
    let why = converted(&fixture, Some("ticket")).unwrap_err().to_string();
    assert!(why.contains("has \"Tickets\", \"Old tickets\"; did you mean --sheet 'Tickets'?"), "{why}");
}

#[test]
fn cells_without_places_and_texts_inside_of_cells_are_read() {
    let text = rows(
        "<row><c t=\"inlineStr\"><is><t>a</t></is></c><c><v>1</v></c></row><row><c/><c><v>2</v></c></row>",
    );
    assert_eq!(csv(&text), "a,1\n,2\n");
    assert_eq!(csv(&rows("")), "");
    assert_eq!(csv(&rows("<row r=\"3\"><c r=\"B3\" t=\"str\"><v> </v></c></row>")), "");
}

#[test]
fn what_cannot_be_a_sheet_is_refused_in_words() {
    let with = |sheet: &str| packed(&parts(sheet));
    let out_of_order =
        rows("<row r=\"2\"><c r=\"A2\"><v>1</v></c></row><row r=\"1\"><c r=\"A1\"><v>1</v></c></row>");
    // calamine subtracts these without looking.
    let inside_out = "<worksheet><dimension ref=\"B2:A1\"/><sheetData/></worksheet>";
    for sheet in [out_of_order.as_str(), inside_out, "<worksheet>", ""] {
        let why = refused(&with(sheet));
        assert!(why.contains("damaged, cut short") && why.contains("save it anew"), "{why}");
    }
    let other = |name: &str| refused(&packed(&[(name.to_owned(), Vec::new())]));
    assert!(other("xl/workbook.bin").contains(".xlsb"));
    assert!(other("content.xml").contains(".ods"));
    assert!(other("holiday.jpg").contains("no spreadsheet"));
    let mut chart = parts("");
    chart[2].1 =
        String::from_utf8(chart[2].1.clone()).unwrap().replace("/worksheet", "/chartsheet").into_bytes();
    assert!(refused(&packed(&chart)).contains("no sheet with cells"));
}

#[test]
fn a_file_that_unpacks_to_too_much_is_refused_before_it_is_held() {
    let long = rows(&format!("<row><c t=\"str\"><v>{}</v></c></row>", "x".repeat(2 << 20)));
    assert!(refused(&packed(&parts(&long))).contains("too large"));
    let mut lying = parts(&rows(""));
    lying.push(("xl/sharedStrings.xml".to_owned(), b"<sst count='1' uniqueCount='99999999999'/>".to_vec()));
    assert!(refused(&packed(&lying)).contains("too large"));
    let zeros = |bytes: u64| io::repeat(b'<').take(bytes);
    assert_eq!(parts::count(&mut zeros(1_000_000), 1_000_000, 1 << 20).unwrap(), 1_000_000);
    assert!(parts::count(&mut zeros(u64::MAX), 1_000_000, 1 << 20).is_err());
}

#[test]
fn a_large_one_is_told() {
    let mut large = parts(&rows(""));
    large.push(("docProps/app.xml".to_owned(), vec![b'<'; 51 << 20]));
    let told = converted(&packed(&large), None).unwrap().1;
    assert!(told[0].starts_with("a large spreadsheet (51 MiB unpacked)"), "{told:?}");
}

#[test]
fn a_signal_is_looked_for_between_cells() {
    let cells = "<row><c><v>1</v></c></row>".repeat(70_000);
    let folder = tempfile::tempdir().unwrap();
    let mut raw = tempfile::tempfile().unwrap();
    raw.write_all(&packed(&parts(&rows(&cells)))).unwrap();
    let stopped = convert(&raw, folder.path(), None, b',', &mut || Err(io::Error::other("a signal")));
    assert!(matches!(stopped, Err(Error::Machine(_))));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
}

/// A thousand damaged workbooks: cut off, with other bytes in the file, and with other bytes in a part, so that the
/// packing's own checks find nothing. Each is read or refused.
#[test]
fn no_damage_makes_it_panic() {
    let fixture = fs::read(FIXTURE).unwrap();
    let whole = unpacked(&fixture);
    let mut random = fastrand::Rng::with_seed(7);
    let (mut raw, out) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    let mut look = |bytes: &[u8]| {
        raw.rewind().unwrap();
        raw.set_len(0).unwrap();
        raw.write_all(bytes).unwrap();
        let sheet =
            Csv { folder: Path::new("."), out: BufWriter::new(&out), written: 0, looked: 0, columns: None };
        match contained(|| sheet.read(&raw, None, b',', &mut || Ok(()))) {
            None | Some(Ok(_) | Err(Error::Input(_))) => {}
            Some(Err(other)) => panic!("{other:?}"),
        }
    };
    for cut in (0..fixture.len()).step_by(37) {
        look(&fixture[..cut]);
    }
    for _ in 0..200 {
        let mut damaged = fixture.clone();
        damage(&mut damaged, &mut random);
        look(&damaged);
    }
    for _ in 0..800 {
        let mut parts = whole.clone();
        let part = random.usize(..parts.len());
        damage(&mut parts[part].1, &mut random);
        look(&packed(&parts));
    }
}

/// Changes up to four places: a bit, a byte that means something in XML, or a piece that is left out or doubled.
fn damage(bytes: &mut Vec<u8>, random: &mut fastrand::Rng) {
    for _ in 0..random.usize(1..=4) {
        if bytes.is_empty() {
            return;
        }
        let at = random.usize(..bytes.len());
        let end = (at + random.usize(1..40)).min(bytes.len());
        match random.u8(..4) {
            0 => bytes[at] ^= 1 << random.u8(..8),
            1 => bytes[at] = *random.choice(b"<>\"/&;:=09-AZ!\0\xFF").unwrap(),
            2 => drop(bytes.drain(at..end)),
            _ => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
}
