//! The parts of a row's way, one by one: `cargo bench --bench parts -- [FILTER]`.
//!
//! Each figure is for so many rows as its group says, so that criterion prints rows a second. The journal is in the
//! folder of temporary files: set `TMPDIR` to the disk that is meant. What the parts come to together is measured by
//! `benches/pipeline`.

use std::fmt::Write as _;
use std::fs::File;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::{Duration, SystemTime};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use deskload::desk::body::{Common, sample};
use deskload::desk::throttle::WaitHeaders;
use deskload::desk::verdict::{self, Body, Reply, Rules};
use deskload::input::{Layout, Record, Records, Survey, spool, survey};
use deskload::journal::Journal;
use deskload::journal::fingerprint::{FieldBits, Fingerprint};
use deskload::journal::runs::{DeskId, InputId, NewRun, Run};
use deskload::journal::state::{Ending, Intent, Permit};
use deskload::journal::transitions::Batch;
use deskload::lanes::Lanes;
use deskload::mapping::{Mapping, MappingSpec};
use deskload::pace::{Pace, Rate};
use deskload::report::next::{Flags, Going};
use deskload::spooled;
use deskload::ticket::{Changes, TicketId, TicketUpdate};
use deskload::todo::{Row, Turn};
use tempfile::TempDir;

const ROWS: u64 = 10_000;

/// Rows that share a commit: as many as requests are under way.
const COMMITTED: u64 = 64;

fn csv() -> String {
    let mut text = "ticket_id,email,priority,subject,staff,custom_fields.CF007-07\n".to_owned();
    for row in 1..=ROWS {
        let _ = writeln!(text, "{row},agent{}@example.com,high,\"Order, {row}\",ST007-009,Micro", row % 97);
    }
    text
}

fn jsonl() -> String {
    let mut text = String::new();
    for row in 1..=ROWS {
        let custom = r#"[{"id":"CF007-07","value":"Micro"}]"#;
        let _ = writeln!(
            text,
            r#"{{"ticket_id":{row},"email":"agent{}@example.com","priority":"high","subject":"Order, {row}","staff":"ST007-009","custom_fields":{custom}}}"#,
            row % 97
        );
    }
    text
}

/// A file of this name and what stands in it.
fn file(name: &str, text: &str) -> (TempDir, Layout) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    std::fs::write(&path, text).expect("a file");
    let first = text.bytes().next();
    (folder, Layout::choose(None, None, Some(&path), first, false))
}

fn reading(c: &mut Criterion) {
    let mut group = c.benchmark_group("input");
    group.throughput(Throughput::Elements(ROWS));
    for (name, text) in [("rows.csv", csv()), ("rows.jsonl", jsonl())] {
        let (folder, layout) = file(name, &text);
        let path = folder.path().join(name);
        group.bench_function(format!("read {name}"), |b| {
            b.iter(|| {
                let mut records = Records::open(&path, &layout).expect("records");
                let mut record = Record::new();
                while records.next(&mut record).expect("a record") {}
                record.number()
            });
        });
        group.bench_function(format!("map and validate {name}"), |b| {
            let mut records = Records::open(&path, &layout).expect("records");
            let mapping = Mapping::resolve(&MappingSpec::default(), records.header()).expect("a mapping");
            let mut all = vec![Record::new(); usize::try_from(ROWS).expect("few")];
            for record in &mut all {
                records.next(record).expect("a record");
            }
            b.iter(|| all.iter().filter(|record| mapping.update(record).is_ok()).count());
        });
        group.bench_function(format!("first reading of {name}"), |b| {
            b.iter(|| surveyed(&path, layout));
        });
    }
    group.finish();
}

fn surveyed(path: &Path, layout: Layout) -> Survey {
    let mut records = Records::open(path, &layout).expect("records");
    let mapping = Mapping::resolve(&MappingSpec::default(), records.header()).expect("a mapping");
    survey(&mut records, &mapping, false, &mut |_| Ok(())).expect("a survey")
}

fn update(row: u64) -> TicketUpdate {
    let changes = Changes {
        subject: Some(format!("row {row}")),
        staff: Some("ST007-009".to_owned()),
        ..Changes::default()
    };
    let ticket = TicketId::parse(&row.to_string()).expect("an id");
    TicketUpdate::new(ticket, changes).expect("a change")
}

fn fingerprint(update: &TicketUpdate) -> Fingerprint {
    Fingerprint::of(update.changes(), &FieldBits::default()).expect("known fields")
}

fn wire(c: &mut Criterion) {
    let mut group = c.benchmark_group("desk");
    group.throughput(Throughput::Elements(1));
    let update = update(1_001);
    group.bench_function("render a request", |b| {
        let common = Common { account_email: "bench@example.com", custom_fields_as_string: false };
        b.iter(|| sample(common, black_box(&update)));
    });
    let wait = || WaitHeaders {
        retry_after: Vec::new(),
        ratelimit_retry_after: Vec::new(),
        ratelimit_reset: Vec::new(),
    };
    let reply =
        |body: &str| Ok(Reply { status: 200, wait: wait(), body: Body::Whole(body.as_bytes().to_vec()) });
    let (rules, now) = (Rules::default(), SystemTime::now());
    for (name, body) in [
        ("success", r#"{"status":"success","ticket_id":"01001"}"#),
        ("refusal", r#"{"status":"error","description":"Ticket not found"}"#),
    ] {
        let came = reply(body);
        group.bench_function(format!("read a reply: {name}"), |b| {
            b.iter(|| verdict::read(black_box(&came), update.ticket(), &rules, now));
        });
    }
    group.bench_function("take the fingerprint", |b| b.iter(|| fingerprint(black_box(&update))));
    group.finish();
}

fn row(number: u64) -> Row {
    let update = update(number);
    Row {
        number,
        fingerprint: fingerprint(&update),
        update,
        attempts: 0,
        has_entry: false,
        resend: false,
        bytes: 30,
        turn: Turn::Send,
        refusals: 0,
        doubts: 0,
        refused_at: 0,
        refusals_seen: 0,
    }
}

fn order(c: &mut Criterion) {
    let mut group = c.benchmark_group("order");
    group.throughput(Throughput::Elements(ROWS));
    group.bench_function("lanes", |b| {
        b.iter_batched(
            || (1..=ROWS).map(row).collect::<Vec<_>>(),
            |rows| {
                let mut lanes = Lanes::starting_at(1);
                for row in rows {
                    lanes.admit(row);
                    while let Some(row) = lanes.next_ready() {
                        lanes.entered(row.number);
                        lanes.done(row.update.ticket());
                    }
                }
                lanes.cursor()
            },
            BatchSize::LargeInput,
        );
    });
    let ticket = update(1).ticket();
    let fast = Rate { count: NonZeroU32::MAX, per: Duration::from_secs(1) };
    group.bench_function("limiter", |b| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let _context = runtime.enter();
        let mut pace = Pace::new(&[fast], NonZeroU32::new(1_000_000)).expect("a pace");
        b.iter(|| (0..ROWS).filter(|_| pace.take(ticket).is_ok()).count());
    });
    group.finish();
}

/// A journal with a run of this input, all of its rows surveyed.
fn begun(folder: &TempDir, name: &str, layout: Layout) -> (Journal, Run) {
    let mut journal = Journal::open(&folder.path().join("journal.sqlite3")).expect("a journal");
    let spools = spooled::make_folder(&journal).expect("a folder");
    let path = folder.path().join(name);
    let taken = spool::take(&mut File::open(&path).expect("the file"), &spools).expect("a spool");
    journal.begin_first_pass().expect("a table");
    let mapping = MappingSpec::default();
    let found = {
        let mut records = Records::open(&path, &layout).expect("records");
        let mapping = Mapping::resolve(&mapping, records.header()).expect("a mapping");
        survey(&mut records, &mapping, false, &mut |seen| journal.note(seen)).expect("a survey")
    };
    let input = InputId { sha256: taken.sha256, bytes: taken.bytes, path: None };
    let desk = DeskId::new("http://127.0.0.1/", "bench@example.com");
    let new = NewRun {
        desk: &desk,
        input: &input,
        layout: &layout,
        mapping: &mapping,
        survey: &found,
        unchanged: None,
        now_ms: 0,
    };
    let run = journal.open_run(&new, |name| spooled::keep(&spools, taken.file, name)).expect("a run");
    (journal, run)
}

fn journal(c: &mut Criterion) {
    let mut group = c.benchmark_group("journal");
    group.throughput(Throughput::Elements(COMMITTED));
    let (folder, layout) = file("rows.csv", &csv());
    let (mut journal, run) = begun(&folder, "rows.csv", layout);
    let (mut next, mut sent): (u64, Vec<Permit>) = (1, Vec::new());
    group.bench_function(format!("commit {COMMITTED} outcomes and {COMMITTED} intents"), |b| {
        b.iter(|| {
            let outcomes =
                sent.drain(..).map(|permit| permit.send().settle(Ending::Applied, Duration::ZERO)).collect();
            let wanted = (next..next + COMMITTED).map(intent).collect();
            next += COMMITTED;
            let batch = Batch { outcomes, wanted, cursor: next, ..Batch::default() };
            sent = journal.commit(run.key, &batch).expect("a commit").permits;
        });
    });
    group.finish();
}

fn intent(row: u64) -> Intent {
    let update = update(row);
    let fingerprint = fingerprint(&update);
    Intent { row, ticket: update.ticket(), fingerprint, attempts: 0, resend: false }
}

fn reports(c: &mut Criterion) {
    let mut group = c.benchmark_group("report");
    group.throughput(Throughput::Elements(ROWS));
    group.sample_size(20);
    let text = csv().replace(",high,", ",urgent,");
    let (folder, layout) = file("rows.csv", &text);
    let (journal, run) = begun(&folder, "rows.csv", layout);
    let reports = folder.path().join("reports");
    let flags = Flags::default();
    let going = Going { again: "deskload resume", flags: &flags, waits_for: None };
    group.bench_function("write the reports, every row invalid", |b| {
        b.iter(|| deskload::report::write(&reports, &journal, &run, None, going).expect("reports"));
    });
    group.finish();
}

criterion_group!(parts, reading, wire, order, journal, reports);
criterion_main!(parts);
