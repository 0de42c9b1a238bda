//! Speed, memory, journal and resume by the number of rows: what is linear, and what stays as it is.
//!
//! Each size lives a whole life: it is checked, sent but for its last rows, resumed, gone on with from the file, and
//! reported. The desk refuses one ticket in a hundred, so that a report has something to tell.

use std::fs::File;
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use deskload::input::spool;

use crate::machine::{Others, Spent, Watch};
use crate::program::Home;
use crate::server::Desk;
use crate::{Result, machine, number, per, rows};

/// Rows that are left for the resume, and as many for going on from the file.
const LEFT: u64 = 64;

const REFUSE_EVERY: u64 = 100;

/// `growth [csv|jsonl] ROWS…`
pub(crate) fn main(words: &[&str]) -> Result<()> {
    let (format, sizes) = match words {
        [format @ ("csv" | "jsonl"), sizes @ ..] => (*format, sizes),
        sizes => ("csv", sizes),
    };
    let usual = ["10000", "100000", "1000000"];
    let sizes = if sizes.is_empty() { &usual[..] } else { sizes };
    println!(
        "| {format} | check, s (CPU) | run, rows/s | CPU µs/row: user + system | MiB: check, run, resume, report \
         | journal, bytes/row | written, bytes/row | spool: s, bytes/row | first request: resume, s | from the file, s \
         | its digest, s | report, s | machine |"
    );
    println!("|{}", "---|".repeat(13));
    for at in 0..sizes.len() {
        let rows = number(sizes, at, 0)?;
        if rows <= 2 * LEFT {
            return Err(format!("a life needs more than {} rows", 2 * LEFT).into());
        }
        println!("{}", live(format, rows)?.line(rows));
    }
    Ok(())
}

/// What one life came to.
struct Life {
    check: Spent,
    run: Spent,
    resume: Spent,
    report: Spent,
    journal: u64,
    spool: (f64, u64),
    /// From the start of the program until its first request arrived, in seconds.
    resume_first: f64,
    file_first: f64,
    digest: f64,
    others: Vec<Others>,
}

fn live(format: &str, rows: u64) -> Result<Life> {
    let desk = Desk::start(0, REFUSE_EVERY)?;
    let folder = tempfile::tempdir()?;
    let input = folder.path().join(format!("rows.{format}"));
    rows::write(&input, rows)?;
    let home = Home::new(folder.path().join("home"))?;
    let watch = Watch::begin(Some(desk.pid()))?;

    let (status, check) = home.read(&["check"], Some(&input))?;
    home.require(status, &[0], "check")?;
    let most = (rows - 2 * LEFT).to_string();
    let (status, run) = home.send(&desk.url, &["run", "--yes", "--limit", &most], Some(&input))?;
    home.require(status, &[5], "run")?;
    desk.each_once(rows - 2 * LEFT, "run")?;
    let journal = home.size_of("") + home.size_of("-wal");

    let began = now_us();
    let (status, resume) = home.send(&desk.url, &["resume", "--limit", &LEFT.to_string()], None)?;
    home.require(status, &[5], "resume")?;
    let resume_first = first(&desk, began)?;
    let began = now_us();
    let (status, _) = home.send(&desk.url, &["run", "--yes"], Some(&input))?;
    home.require(status, &[0, 3], "run again")?;
    let file_first = first(&desk, began)?;
    let (status, report) = home.read(&["report", "1", "--report-dir", "again"], None)?;
    home.require(status, &[0, 3], "report")?;
    let others = vec![watch.end()?];
    let (spool, digest) = (spooling(&input, folder.path())?, digesting(&input)?);
    Ok(Life { check, run, resume, report, journal, spool, resume_first, file_first, digest, others })
}

fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or_default()
}

fn first(desk: &Desk, began_us: u64) -> Result<f64> {
    let arrived = desk.each_once(LEFT, "the rows that were left")?.times_us.first().copied();
    Ok(per(arrived.ok_or("no time of arrival")?.saturating_sub(began_us), 1e6))
}

fn spooling(input: &Path, folder: &Path) -> Result<(f64, u64)> {
    let began = Instant::now();
    let taken = spool::take(&mut File::open(input)?, folder)?;
    Ok((began.elapsed().as_secs_f64(), taken.file.as_file().metadata()?.len()))
}

fn digesting(input: &Path) -> Result<f64> {
    let began = Instant::now();
    spool::digest(&mut File::open(input)?)?;
    Ok(began.elapsed().as_secs_f64())
}

impl Life {
    fn line(&self, rows: u64) -> String {
        let mib = |spent: &Spent| per(spent.resident_kib, 1_024.0);
        #[expect(clippy::cast_precision_loss, reason = "rows are far fewer than 2^52")]
        let each = |count: u64| per(count, rows as f64);
        let micros = |seconds: f64| 1e6 / per(rows, seconds);
        format!(
            "| {rows} | {:.2} ({:.2} + {:.2}) | {:.0} | {:.1} + {:.1} | {:.1}, {:.1}, {:.1}, {:.1} | {:.1} | {:.1} \
             | {:.2}, {:.1} | {:.3} | {:.3} | {:.3} | {:.2} | {} |",
            self.check.seconds,
            self.check.cpu.user,
            self.check.cpu.system,
            per(rows, self.run.seconds),
            micros(self.run.cpu.user),
            micros(self.run.cpu.system),
            mib(&self.check),
            mib(&self.run),
            mib(&self.resume),
            mib(&self.report),
            each(self.journal),
            each(self.run.written),
            self.spool.0,
            each(self.spool.1),
            self.resume_first,
            self.file_first,
            self.digest,
            self.report.seconds,
            machine::verdict(&self.others)
        )
    }
}
