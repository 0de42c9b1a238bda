//! The whole pipeline against a sandbox in a process of its own: rows a second for several bounds on the rows
//! that may be marked as sending at once, which is what a crash puts in doubt.
//!
//! `cargo bench --bench pipeline -- [ROWS] [LATENCY] [CONCURRENCY]`, for instance `100000 0..0 32`. The bounds take
//! turns, so that a machine that grows slower hurts all alike; medians of five are printed, and the sandbox's own
//! count is checked after each round.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::error::Error;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use deskload::breaker::{Breaker, Limits, MaxFailures};
use deskload::desk::proprofs::{Connection, ProProfs};
use deskload::desk::verdict::Rules;
use deskload::input::{Layout, Records, spool, survey};
use deskload::journal::Journal;
use deskload::journal::runs::{DeskId, InputId, NewRun};
use deskload::journal::writer::Writer;
use deskload::lanes::Lanes;
use deskload::mapping::{Mapping, MappingSpec};
use deskload::pace::Pace;
use deskload::pipeline::{Parts, Pipeline};
use deskload::progress::Progress;
use deskload::secret::Token;
use deskload::shutdown::Shutdown;
use deskload::spooled::{self, Spooled};
use deskload::todo::{Source, Todo};
use deskload::until::{Bounds, Until};
use std::time::Duration;

const ROUNDS: usize = 5;
const BOUNDS: [usize; 4] = [1, 2, 4, 8];

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    // cargo hands `--bench` on.
    let mut words = std::env::args().skip(1).filter(|word| !word.starts_with("--"));
    let rows: u64 = words.next().map_or(Ok(20_000), |word| word.parse())?;
    let latency = words.next().unwrap_or_else(|| "0..0".to_owned());
    let concurrency: usize = words.next().map_or(Ok(32), |word| word.parse())?;

    let (mut desk, url) = start_desk(&latency)?;
    let folder = tempfile::tempdir()?;
    let input = folder.path().join("rows.csv");
    write_rows(&input, rows)?;

    let mut took: Vec<Vec<f64>> = vec![Vec::new(); BOUNDS.len()];
    for round in 0..ROUNDS {
        for (bound, took) in BOUNDS.iter().zip(&mut took) {
            let place = folder.path().join(format!("{round}-{bound}"));
            took.push(drive(&place, &input, &url, concurrency, bound * concurrency)?);
        }
    }
    desk.kill()?;
    desk.wait()?;

    println!("{rows} rows, latency {latency} ms, {concurrency} connections, median of {ROUNDS}");
    println!("marked at most   rows/s");
    for (bound, took) in BOUNDS.iter().zip(&mut took) {
        took.sort_by(f64::total_cmp);
        #[expect(clippy::cast_precision_loss, reason = "rows are far fewer than 2^52")]
        let per_second = rows as f64 / took[ROUNDS / 2];
        println!("{bound} × {concurrency:<10} {per_second:>10.0}");
    }
    Ok(())
}

fn start_desk(latency: &str) -> Result<(Child, String)> {
    let mut desk = Command::new(env!("CARGO_BIN_EXE_deskload"))
        .args(["sandbox", "--latency", latency])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut url = String::new();
    BufReader::new(desk.stdout.take().ok_or("no standard output")?).read_line(&mut url)?;
    Ok((desk, url.trim().to_owned()))
}

fn write_rows(path: &Path, rows: u64) -> Result<()> {
    let mut out = std::io::BufWriter::new(fs::File::create(path)?);
    writeln!(out, "ticket_id,subject,staff")?;
    for row in 1..=rows {
        writeln!(out, "{},row {row},ST007-{:03}", 1_000 + row, row % 40)?;
    }
    Ok(out.flush()?)
}

/// Takes the input in, sends it, and gives the seconds that the sending took.
fn drive(place: &Path, input: &Path, url: &str, concurrency: usize, marked_max: usize) -> Result<f64> {
    fs::create_dir(place)?;
    let mut journal = Journal::open(&place.join("journal.sqlite3"))?;
    let folder = spooled::make_folder(&journal)?;
    let taken = spool::take(&mut fs::File::open(input)?, &folder)?;
    let layout = Layout::choose(None, None, Some(input), taken.first, taken.bom);
    let mapping = MappingSpec::default();
    let survey = {
        let mut records = Records::open(taken.file.path(), &layout)?;
        let mapping = Mapping::resolve(&mapping, records.header())?;
        journal.begin_first_pass()?;
        survey(&mut records, &mapping, true, &mut |invalid| journal.note_invalid(invalid))?
    };
    let input = InputId { sha256: taken.sha256, bytes: taken.bytes, path: None };
    let desk = DeskId::new(url, "bench@example.com");
    let new =
        NewRun { desk: &desk, input: &input, layout: &layout, mapping: &mapping, survey: &survey, now_ms: 0 };
    let run = journal.open_run(&new, |name| spooled::keep(&folder, taken.file, name))?;

    let spooled = Spooled::open(&journal, &run)?.ok_or("no spool")?;
    let mapping = Mapping::resolve(&run.mapping, spooled.header())?;
    let todo = Todo::new(journal.open_again()?, &run, spooled, mapping, false)?;
    let connection = Connection {
        url: url.parse()?,
        account_email: desk.account_email.clone(),
        timeout: Duration::from_secs(30),
        connect_timeout: Duration::from_secs(5),
        connections: concurrency,
        proxy: None,
        authorities: Vec::new(),
        rules: Rules::default(),
        custom_fields_as_string: false,
    };
    let secret = Token::new("sandbox-token".to_owned())?;
    let desk = ProProfs::new(connection, secret, None)?;
    let limits = Limits {
        retries: 5,
        resends: false,
        patience: Duration::from_secs(60),
        max_wait: Duration::from_secs(60),
        max_failures: MaxFailures::Rows(0),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _context = runtime.enter();
    let parts = Parts {
        desk: &desk,
        source: Source::spawn(todo)?,
        lanes: Lanes::starting_at(run.cursor),
        pace: Pace::new(&[], None)?,
        breaker: Breaker::new(limits, fastrand::Rng::new(), 0),
        doubts: std::collections::HashMap::new(),
        concurrency,
        marked_max,
        counts: run.counts,
        progress: Progress::None,
        until: Until::new(Bounds::default(), jiff::Timestamp::now),
        shutdown: Shutdown::default(),
        writer: Writer::spawn(journal, run.key)?,
    };
    let began = Instant::now();
    let driven = runtime.block_on(Pipeline::new(parts).run());
    let took = began.elapsed().as_secs_f64();
    let journal = driven.writer.close()?;
    let run = journal.run(run.key.id)?.ok_or("no run")?;
    if run.counts.applied != run.counts.rows || run.attempts != run.counts.rows {
        return Err(format!("{:?}, {} attempts", run.counts, run.attempts).into());
    }
    Ok(took)
}
