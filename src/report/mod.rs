//! What a run leaves behind for people and other programs: derived from the journal, never kept beside it.
//!
//! | Module | Its one job |
//! |---|---|
//! | [`failures`] | the rows that need a person, in a form that is a valid input again |
//! | [`summary`] | `summary.json`, and the table on standard error |
//!
//! Each file is written whole under another name and then put in place, so that a kill leaves the old one or the
//! new one. All are 0600: they hold personal data. A failure is [`Error::Machine`]; the journal is not touched, and
//! `deskload report` writes them again.

pub mod failures;
pub mod summary;

use std::fs;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::NamedTempFile;

use crate::error::Error;
use crate::folders;
use crate::input::Format;
use crate::journal::Journal;
use crate::journal::runs::Run;
use crate::journal::state::State;
use crate::spooled::Spooled;
use failures::{Added, ResultFile};

/// Names the journal that a folder of reports belongs to.
const OWNER: &str = ".journal";

/// How the names of files begin that are still being written, and the age from which one is a leftover: no report
/// takes that long, and another process may be writing one.
const TEMPORARY: &str = ".tmp";
const SWEPT_AFTER: Duration = Duration::from_secs(60 * 60);

/// What was written.
#[derive(Clone, Debug)]
pub struct Files {
    /// The run's folder.
    pub folder: PathBuf,
    /// Failed and invalid rows, if there are any.
    pub failures: Option<PathBuf>,
    /// Rows in doubt, if there are any.
    pub in_doubt: Option<PathBuf>,
    /// Why rows are failed, invalid or in doubt, as the summary says it.
    pub reasons: Vec<summary::Tallied>,
}

/// Makes the folder of a run's reports, and refuses one that belongs to another journal: its run of the same
/// number is another run, and its failures would be overwritten.
pub fn make_folder(report_dir: &Path, journal: &Journal, run: u64) -> Result<PathBuf, Error> {
    let folder = report_dir.join(format!("run-{run}"));
    folders::require_place(&folder, "--report-dir")?;
    folders::require_place(&folder, "--report-dir")?;
    folders::make(&folder)?;
    let owner = folder.join(OWNER);
    match fs::read_to_string(&owner) {
        Ok(uuid) if uuid.trim() == journal.uuid() => Ok(folder),
        Ok(_) => Err(Error::Usage(format!(
            "{} holds the reports of another journal; name another folder with --report-dir",
            folder.display()
        ))),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            replace(&owner, |out| writeln!(out, "{}", journal.uuid()))?;
            Ok(folder)
        }
        Err(error) => Err(Error::file("read", &owner, &error)),
    }
}

/// Writes every report of a run.
pub fn write(report_dir: &Path, journal: &Journal, run: &Run) -> Result<Files, Error> {
    let folder = make_folder(report_dir, journal, run.key.id)?;
    sweep(&folder);
    let ending = match run.layout.format {
        Format::Csv | Format::Xlsx => "csv",
        Format::Jsonl => "jsonl",
    };
    let failures = folder.join(format!("failures.{ending}"));
    let in_doubt = folder.join(format!("in-doubt.{ending}"));
    let failures = rows(
        &failures,
        journal,
        run,
        &[State::Failed, State::Invalid],
        run.counts.failed + run.counts.invalid,
    )?;
    let in_doubt = rows(&in_doubt, journal, run, &[State::InDoubt], run.counts.in_doubt)?;
    let reasons = summary::reasons(journal, run)?;
    summary::write(&folder.join("summary.json"), journal, run, &reasons)?;
    Ok(Files { folder, failures, in_doubt, reasons })
}

/// Removes what killed processes left half written: it holds personal data. Whoever cannot be asked for the time,
/// or removed, is left for another day.
fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_temporary = entry.file_name().to_string_lossy().starts_with(TEMPORARY);
        let age = entry.metadata().and_then(|metadata| metadata.modified()).map(|changed| changed.elapsed());
        if is_temporary && matches!(age, Ok(Ok(age)) if age > SWEPT_AFTER) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Writes the rows in these states, or removes what an earlier invocation wrote if there are none any more.
fn rows(
    path: &Path,
    journal: &Journal,
    run: &Run,
    states: &[State],
    count: u64,
) -> Result<Option<PathBuf>, Error> {
    if count == 0 {
        return match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::file("remove", path, &error)),
            _ => Ok(None),
        };
    }
    let mut spooled = Spooled::open(journal, run)?
        .ok_or_else(|| Error::Machine(format!("the rows of run {} are not kept any more", run.key.id)))?;
    let failed = |error: io::Error| Error::file("write", path, &error);
    let file = new_file(path)?;
    let mut out = ResultFile::create(BufWriter::new(file), &run.layout, spooled.header()).map_err(failed)?;
    let mut after = 0;
    loop {
        let page = journal.told_page(run.key, states, after, run.counts.rows)?;
        let Some(last) = page.last() else { break };
        after = last.row;
        for told in &page {
            let added = Added {
                run: run.key.id,
                row: told.row,
                outcome: told.state.key(),
                reason: &told.reason,
                message: &told.message,
                http_status: told.http_status,
                attempts: told.attempts,
            };
            out.write(spooled.at(journal, told.row)?, &added).map_err(failed)?;
        }
    }
    let out = out.finish().map_err(failed)?;
    put(path, out.into_inner().map_err(|error| failed(error.into_error()))?)?;
    Ok(Some(path.to_owned()))
}

/// Writes a file whole or not at all.
fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Error> {
    let mut out = BufWriter::new(new_file(path)?);
    let failed = |error: io::Error| Error::file("write", path, &error);
    write(&mut out).map_err(failed)?;
    put(path, out.into_inner().map_err(|error| failed(error.into_error()))?)
}

/// A file beside the one that it will replace; tempfile makes it 0600.
fn new_file(path: &Path) -> Result<NamedTempFile, Error> {
    let folder = folders::parent(path);
    tempfile::Builder::new()
        .prefix(TEMPORARY)
        .tempfile_in(folder)
        .map_err(|error| Error::file("write in", folder, &error))
}

fn put(path: &Path, file: NamedTempFile) -> Result<(), Error> {
    let failed = |error: io::Error| Error::file("write", path, &error);
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    folders::sync(folders::parent(path))
}
