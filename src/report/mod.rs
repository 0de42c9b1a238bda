//! What a run leaves behind for people and other programs: derived from the journal, never kept beside it.
//!
//! | Module | Its one job |
//! |---|---|
//! | [`failures`] | the rows that need a person, in a form that is a valid input again |
//! | `rewrite` | these rows in the other format, where they ask for the same there |
//! | [`summary`] | `summary.json`, and the table on standard error |
//! | `html` | `report.html`, for who asks how it went |
//! | [`next`] | what to do next, and with which command |
//!
//! Each file is written whole under another name and then put in place, so that a kill leaves the old one or the
//! new one. All are 0600: they hold personal data. A failure is [`Error::Machine`]; the journal is not touched, and
//! `deskload report` writes them again.

pub mod failures;
mod html;
pub mod next;
mod rewrite;
pub mod summary;

use std::fs;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::NamedTempFile;

use crate::error::Error;
use crate::folders;
use crate::input::{Format, Layout, Record};
use crate::journal::archive::{Archive, KeptRows};
use crate::journal::runs::Run;
use crate::journal::state::State;
use failures::{Added, ResultFile};
use next::{Going, Step};
use rewrite::{Keys, Rewrite};

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
    /// The page for people.
    pub html: PathBuf,
    /// Why rows are failed, invalid or in doubt, as the summary says it.
    pub reasons: Vec<summary::Tallied>,
    /// What a person should know of the files.
    pub remarks: Vec<String>,
    /// What to do next.
    pub next: Vec<Step>,
}

/// Makes the folder of a run's reports, and refuses one that belongs to another journal: its run of the same
/// number is another run, and its failures would be overwritten.
pub fn make_folder(report_dir: &Path, journal: &dyn Archive, run: u64) -> Result<PathBuf, Error> {
    let folder = report_dir.join(format!("run-{run}"));
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

/// Writes every report of a run, its rows in this format; `None`: in the input's own.
pub fn write(
    report_dir: &Path,
    journal: &dyn Archive,
    run: &Run,
    format: Option<Format>,
    going: Going<'_>,
) -> Result<Files, Error> {
    let folder = make_folder(report_dir, journal, run.key.id)?;
    sweep(&folder);
    let mut remarks = Vec::new();
    let mut rows = |name, states: &[State], count| {
        Rows { folder: &folder, name, journal, run, states }.write(count, format, &mut remarks)
    };
    let failures =
        rows("failures", &[State::Failed, State::Invalid], run.counts.failed + run.counts.invalid)?;
    let in_doubt = rows("in-doubt", &[State::InDoubt], run.counts.in_doubt)?;
    let reasons = summary::reasons(journal, run)?;
    summary::write(&folder.join("summary.json"), journal, run, &reasons)?;
    let next = next::steps(run, failures.as_deref(), going);
    let html = folder.join("report.html");
    html::write(&html, journal, run, &reasons, &next, going.flags)?;
    Ok(Files { folder, failures, in_doubt, html, reasons, remarks, next })
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

/// A result file: the rows of a run in these states.
#[derive(Clone, Copy)]
struct Rows<'a> {
    folder: &'a Path,
    name: &'static str,
    journal: &'a dyn Archive,
    run: &'a Run,
    states: &'a [State],
}

impl Rows<'_> {
    /// Writes the file in the format that was asked for, else in the input's, and removes what an earlier invocation
    /// wrote in the other one. If there is no such row any more, it removes both.
    fn write(
        &self,
        count: u64,
        format: Option<Format>,
        remarks: &mut Vec<String>,
    ) -> Result<Option<PathBuf>, Error> {
        let own = self.run.layout.format;
        let written = match format {
            _ if count == 0 => None,
            Some(format) if format.has_cells() != own.has_cells() => {
                let other = self.write_as(format)?;
                if other.is_none() {
                    remarks.push(format!(
                        "{} cannot be {}: some of its rows would ask for something else there",
                        self.path(own).display(),
                        ending(format)
                    ));
                }
                other.map_or_else(|| self.write_as(own), |path| Ok(Some(path)))?
            }
            _ => self.write_as(own)?,
        };
        for path in [Format::Csv, Format::Jsonl].map(|format| self.path(format)) {
            if written.as_ref() != Some(&path) {
                remove(&path)?;
            }
        }
        Ok(written)
    }

    fn path(&self, format: Format) -> PathBuf {
        self.folder.join(format!("{}.{}", self.name, ending(format)))
    }

    /// Writes the file. `None`: a row would ask for something else in this format.
    fn write_as(&self, format: Format) -> Result<Option<PathBuf>, Error> {
        let Self { journal, run, .. } = *self;
        let mut kept = journal
            .kept(run)?
            .ok_or_else(|| Error::Machine(format!("the rows of run {} are not kept any more", run.key.id)))?;
        let mut layout = Layout { format, ..run.layout };
        let mut rewrite = None;
        if format.has_cells() != run.layout.format.has_cells() {
            // A mark, because cells are for spreadsheets, which want it; other programs trip over it.
            layout.bom = format.has_cells();
            rewrite = self.rewrite(&mut *kept)?;
            if rewrite.is_none() {
                return Ok(None);
            }
        }
        let path = self.path(format);
        let failed = |error: io::Error| Error::file("write", &path, &error);
        let out = BufWriter::new(new_file(&path)?);
        let header = rewrite.as_ref().map_or(kept.header(), Rewrite::header);
        let mut out = ResultFile::create(out, &layout, header).map_err(failed)?;
        let is_whole = self.each(&mut *kept, &mut |record, added| {
            let record = match &mut rewrite {
                None => Some(record),
                Some(rewrite) => rewrite.row(record),
            };
            let Some(record) = record else { return Ok(false) };
            out.write(record, added).map(|()| true).map_err(failed)
        })?;
        if !is_whole {
            return Ok(None);
        }
        let out = out.finish().map_err(failed)?;
        put(&path, out.into_inner().map_err(|error| failed(error.into_error()))?)?;
        Ok(Some(path))
    }

    /// How the rows get into the other format; `None`: not at all.
    fn rewrite(&self, kept: &mut dyn KeptRows) -> Result<Option<Rewrite>, Error> {
        let spec = &self.run.mapping;
        if let Some(header) = kept.header() {
            return Ok(Rewrite::to_lines(spec, header));
        }
        let mut keys = Keys::default();
        let are_few = self.each(kept, &mut |record, _| Ok(keys.note(record)))?;
        Ok(if are_few { Rewrite::to_cells(spec, keys) } else { None })
    }

    /// Shows each row with what became of it, none of which is kept, until `look` says false: then it is false.
    fn each(
        &self,
        kept: &mut dyn KeptRows,
        look: &mut dyn FnMut(&Record, &Added<'_>) -> Result<bool, Error>,
    ) -> Result<bool, Error> {
        let Self { journal, run, .. } = *self;
        let mut after = 0;
        loop {
            let page = journal.told_page(run.key, self.states, after, run.counts.rows)?;
            let Some(last) = page.last() else { return Ok(true) };
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
                if !look(kept.at(told.row)?, &added)? {
                    return Ok(false);
                }
            }
        }
    }
}

/// What a file of this format is called: a spreadsheet's rows come back as CSV.
const fn ending(format: Format) -> &'static str {
    match format {
        Format::Csv | Format::Xlsx => "csv",
        Format::Jsonl => "jsonl",
    }
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::file("remove", path, &error)),
        _ => Ok(()),
    }
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
