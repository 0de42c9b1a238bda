//! Bytes to updates: rows are numbered without gaps, complaints are harmless and know their line, an update asks for
//! what the row says, and a row that goes into the file of invalid rows comes back as it was.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

use deskload::error::Error;
use deskload::input::{Body, Format, Invalid, Layout, RECORD_BYTES_MAX, Record, Records, survey};
use deskload::mapping::{Complaint, Mapped, Mapping, MappingSpec};
use deskload::report::failures::{Added, ResultFile};
use deskload::ticket::{Field, Value};
use rustix::fs::MemfdFlags;
use serde_json::Value as Json;

use super::assert_tells;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// In the input, this byte stands for so many letters, twice at most: two in one record are too long, one is not.
const STRETCHED: u8 = 1;
const STRETCH_BYTES: usize = 600_000;

/// First line: `;`, `|` or `t` is the delimiter, `i` ignores unknown columns, `s` sets the inbox in every row. `b` alone
/// stretches each byte 1, and only the reading is tried, because that takes its time. Then the file.
pub(super) fn csv(data: &[u8]) {
    rows(data, Format::Csv);
}

/// First line and file as for `csv`.
pub(super) fn jsonl(data: &[u8]) {
    rows(data, Format::Jsonl);
}

/// The bytes as a file in memory that no name leads to: quick, and nothing is left behind.
struct Spool(File);

impl Spool {
    fn new(content: &[u8]) -> Self {
        let file = rustix::fs::memfd_create("fuzz", MemfdFlags::CLOEXEC).expect("a file in memory");
        let mut file = File::from(file);
        file.write_all(content).expect("room in memory");
        Self(file)
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

fn rows(data: &[u8], format: Format) {
    let (first, content) = super::split(data);
    let is = |letter| first.contains(letter);
    let delimiter = match (is(';'), is('|'), is('t')) {
        (true, ..) => b';',
        (_, true, _) => b'|',
        (.., true) => b'\t',
        _ => b',',
    };
    // As a spool is made: the mark is taken off, and remembered.
    let layout = Layout { format, delimiter, bom: content.starts_with(BOM) };
    let content = content.strip_prefix(BOM).unwrap_or(content);
    let is_stretched = first == "b" && content.contains(&STRETCHED);
    let content = if is_stretched { stretched(content) } else { content.to_vec() };
    let mut spec = MappingSpec { ignore_unknown: is('i'), ..MappingSpec::default() };
    if is('s') {
        spec.add_set("inbox=IB-1").expect("a value that the field can have");
    }

    let spool = Spool::new(&content);
    let records = match Records::open(&spool.path(), &layout) {
        Ok(records) => records,
        Err(error) => return assert_unusable(&error),
    };
    let mapping = match Mapping::resolve(&spec, records.header()) {
        Ok(mapping) => mapping,
        Err(error) => return assert_unusable(&error),
    };
    let mut walk =
        Walk { content: &content, spec: &spec, mapping: &mapping, place: Place::default(), rows: Vec::new() };
    let (invalid, end) = walk.all(records, layout);
    if is_stretched {
        return;
    }
    let rows = std::mem::take(&mut walk.rows);
    if end.is_none() && format == Format::Csv {
        assert_eq!(rows, plain(&content, delimiter), "the cells are not those that stand there");
    }
    surveyed(&spool, layout, &mapping, rows.len(), &invalid, end);
}

fn stretched(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 2 * STRETCH_BYTES);
    let mut left = 2;
    for byte in content {
        if *byte == STRETCHED && left > 0 {
            left -= 1;
            out.resize(out.len() + STRETCH_BYTES, b'x');
        } else {
            out.push(*byte);
        }
    }
    out
}

/// Trouble with the whole input is for a person to correct, and says where.
#[track_caller]
fn assert_unusable(error: &Error) {
    let Error::Input(message) = error else { panic!("{error:?} is no trouble with the input") };
    // A line for each column that means nothing, some of them at the most.
    assert!(message.lines().count() <= 10, "a complaint like a page: {message:?}");
    message.split('\n').for_each(assert_tells);
    assert!(message.contains("line"), "{message:?} does not say where");
}

/// A row's cells, or its line as the only one.
type Cells = Vec<Vec<u8>>;

fn cells(record: &Record) -> Cells {
    match record.body() {
        Body::Csv(cells) => cells.iter().map(<[u8]>::to_vec).collect(),
        Body::Jsonl(line) => vec![line.to_vec()],
    }
}

/// What another reader makes of the same CSV: the library alone, on the whole text.
fn plain(content: &[u8], delimiter: u8) -> Vec<Cells> {
    let mut reader = ::csv::ReaderBuilder::new();
    let mut reader = reader.has_headers(false).flexible(true).delimiter(delimiter).from_reader(content);
    let all = reader.byte_records().map(|record| record.expect("bytes are always cells"));
    let all = all.map(|record| record.iter().map(<[u8]>::to_vec).collect::<Cells>());
    // A single cell of blanks may be a blank line, which is no row; in quotes it is one.
    all.filter(|cells| !is_blank(cells)).skip(1).collect()
}

fn is_blank(cells: &Cells) -> bool {
    matches!(&cells[..], [cell] if cell.trim_ascii().is_empty())
}

/// Counts lines on its own.
#[derive(Default)]
struct Place {
    byte: usize,
    line: u64,
}

impl Place {
    fn line_at(&mut self, byte: u64, content: &[u8], format: Format) -> u64 {
        let byte = usize::try_from(byte).expect("a small input");
        let between = content.get(self.byte..byte).expect("rows come in order");
        let breaks = between.iter().enumerate().filter(|(index, byte)| match format {
            Format::Jsonl => **byte == b'\n',
            Format::Csv | Format::Xlsx => {
                let is_second = *index > 0 && between.get(index - 1) == Some(&b'\r');
                **byte == b'\r' || (**byte == b'\n' && !is_second)
            }
        });
        self.line += breaks.count() as u64;
        self.byte = byte;
        self.line + 1
    }
}

struct Walk<'a> {
    content: &'a [u8],
    spec: &'a MappingSpec,
    mapping: &'a Mapping,
    place: Place,
    rows: Vec<Cells>,
}

impl Walk<'_> {
    /// Reads every row. Gives the invalid ones, and what ended the reading before the end, if anything did.
    fn all(&mut self, mut records: Records, layout: Layout) -> (Vec<Invalid>, Option<String>) {
        let header = records.header().cloned();
        let names: Vec<String> = header.iter().flat_map(|header| header.names().to_vec()).collect();
        let mut result = ResultFile::create(Vec::new(), &layout, header.as_ref()).expect("a file in memory");
        let mut invalid: Vec<Invalid> = Vec::new();
        let mut kept = Vec::new();
        let mut record = Record::new();
        let (mut count, mut line_before) = (0, header.map_or(0, |header| header.line()));
        let end = loop {
            match records.next(&mut record) {
                Ok(false) => break None,
                Ok(true) => {}
                Err(error) => {
                    assert_unusable(&error);
                    break Some(error.to_string());
                }
            }
            count += 1;
            assert_eq!(record.number(), count, "rows are numbered from 1 without gaps");
            let line = self.place.line_at(record.mark().byte, self.content, layout.format);
            assert_eq!(record.line(), line, "row {count}");
            assert!(line > line_before, "row {count} begins on the line of another");
            line_before = line;
            assert!(record.bytes() <= RECORD_BYTES_MAX, "row {count} has {} bytes", record.bytes());
            match self.mapping.update(&record) {
                Ok(mapped) => self.assert_asks(&names, &record, &mapped),
                Err(Complaint::Input(error)) => {
                    assert_unusable(&error);
                    break Some(error.to_string());
                }
                Err(Complaint::Row(trouble)) => {
                    let message = trouble.to_string();
                    assert_tells(&message);
                    assert_eq!(super::line_named(&message), line, "{message:?}");
                    let told = added(record.number(), &message);
                    result.write(&record, &told).expect("a file in memory");
                    kept.push(cells(&record));
                    invalid.push(Invalid { row: count, line, message, trouble });
                }
            }
            if !is_blank(&cells(&record)) {
                self.rows.push(cells(&record));
            }
        };
        read_back(&result.finish().expect("a file in memory"), layout, &names, &kept);
        (invalid, end)
    }

    /// An update holds what its row says, and nothing else.
    fn assert_asks(&self, names: &[String], record: &Record, mapped: &Mapped) {
        let Some(said) = said(names, record) else { return };
        let update = &mapped.update;
        let of = |name: &str| {
            said.iter().find(|(known, _)| known.trim().eq_ignore_ascii_case(name)).map(|(_, text)| text)
        };
        let ticket = of("ticket_id").expect("a ticket");
        assert_eq!(ticket.trim().parse(), Ok(update.ticket().get()), "{said:?}");
        for field in Field::STANDARD {
            let set = self.spec.set.iter().find(|(target, _)| target.to_string() == field.to_string());
            let text =
                of(&field.to_string()).or(set.map(|(_, value)| value)).filter(|text| !text.trim().is_empty());
            let asked = update.changes().iter().find(|(asked, _)| *asked == field).map(|(_, value)| value);
            match (text, asked) {
                (None, None) => {}
                (Some(text), Some(Value::Text(asked))) => {
                    let same = asked == text || asked == text.trim();
                    let same = same || field == Field::Priority && text.trim().eq_ignore_ascii_case(asked);
                    assert!(same, "{field} is {asked:?} where the row says {text:?}");
                }
                other => panic!("{field}: {other:?} in {said:?}"),
            }
        }
    }
}

/// Each name of the row with its text, blank where it says nothing; `None` where another reader cannot tell.
fn said(names: &[String], record: &Record) -> Option<Vec<(String, String)>> {
    match record.body() {
        Body::Csv(cells) => {
            let text = |cell: &[u8]| String::from_utf8_lossy(cell).into_owned();
            Some(names.iter().cloned().zip(cells.iter().map(text)).collect())
        }
        Body::Jsonl(line) => {
            let Json::Object(members) = serde_json::from_slice(line).ok()? else { return None };
            let text = |value: Json| match value {
                Json::Null => Some(String::new()),
                Json::String(text) => Some(text),
                Json::Number(number) if number.is_u64() => Some(number.to_string()),
                // Written in another way than this library would, or no text at all.
                _ => None,
            };
            let is_standard = |name: &str| {
                let name = name.trim();
                let fields = Field::STANDARD.into_iter().map(|field| field.to_string());
                fields.chain(["ticket_id".to_owned()]).any(|field| field.eq_ignore_ascii_case(name))
            };
            members
                .into_iter()
                .filter(|(name, _)| is_standard(name))
                .map(|(name, value)| text(value).map(|text| (name, text)))
                .collect()
        }
    }
}

fn added(row: u64, message: &str) -> Added<'_> {
    Added { run: 7, row, outcome: "invalid", reason: "mapping", message, http_status: None, attempts: 0 }
}

/// The file of invalid rows is an input again, and holds the same cells under the same names.
fn read_back(written: &[u8], layout: Layout, names: &[String], rows: &[Cells]) {
    let spool = Spool::new(written);
    let mut records = Records::open(&spool.path(), &layout).expect("our own file can be read");
    let is_own = |name: &str| name.trim().to_lowercase().starts_with("_deskload_");
    let kept: Vec<usize> = (0..names.len()).filter(|index| !is_own(&names[*index])).collect();
    if let Some(header) = records.header() {
        let before: Vec<&String> = kept.iter().map(|index| &names[*index]).collect();
        let after: Vec<&String> = header.names().iter().take(kept.len()).collect();
        assert_eq!(before, after, "the columns have other names");
    }
    let mut record = Record::new();
    for row in rows {
        assert!(records.next(&mut record).expect("our own file can be read"), "a row is missing");
        let after = cells(&record);
        if layout.format == Format::Jsonl {
            assert_same_object(&row[0], &after[0]);
            continue;
        }
        let before: Cells = kept.iter().map(|index| row.get(*index).cloned().unwrap_or_default()).collect();
        assert_eq!(before, after[..kept.len()], "the cells are others");
        assert_eq!(after[kept.len()], b"7", "the run's number is another");
    }
    assert!(!records.next(&mut record).expect("our own file can be read"), "a row too many");
}

/// Every member comes back; a line that is no object comes back as a text.
fn assert_same_object(before: &[u8], after: &[u8]) {
    let Ok(Json::Object(after)) = serde_json::from_slice::<Json>(after) else { return };
    assert_eq!(after["_deskload_run"], 7);
    match serde_json::from_slice::<Json>(before) {
        Ok(Json::Object(before)) => {
            let is_own = |name: &str| name.trim().to_lowercase().starts_with("_deskload_");
            for (name, value) in before.iter().filter(|(name, _)| !is_own(name)) {
                assert_eq!(after.get(name), Some(value), "{name:?} is another");
            }
        }
        _ => assert!(
            after.get("_deskload_text").is_none_or(|text| *text == *String::from_utf8_lossy(before)),
            "the line is another"
        ),
    }
}

/// The first pass sees the same rows, and says the same of them.
fn surveyed(
    spool: &Spool,
    layout: Layout,
    mapping: &Mapping,
    rows: usize,
    invalid: &[Invalid],
    end: Option<String>,
) {
    let mut records = Records::open(&spool.path(), &layout).expect("it could be read before");
    let mut told = Vec::new();
    let found = survey(&mut records, mapping, false, &mut |seen| {
        told.extend(seen.result.err().cloned());
        Ok(())
    });
    assert_eq!(told, invalid, "the first pass complains of something else");
    match (found, end) {
        (Ok(found), None) => {
            assert_eq!(found.invalid, invalid.len() as u64);
            assert!(found.rows >= rows as u64 && found.identical <= found.rows - found.invalid, "{found:?}");
        }
        (Err(error), Some(end)) => assert_eq!(error.to_string(), end),
        (found, end) => panic!("{found:?}, and before it was {end:?}"),
    }
}
