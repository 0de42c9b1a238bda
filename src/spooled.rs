//! A run's rows in its spool, by their numbers.
//!
//! The journal's marks say where rows begin, so that any row is found without reading from the start, in a whole
//! spool and in one that was cut down. Sending and reports find their rows here alone, so that a number means
//! the same row everywhere. Nothing here changes a spool in place: [`cut_down`] puts a new file beside the old
//! one, and the journal says in one transaction which of them counts.

use std::collections::HashSet;
use std::fs::{self, DirEntry, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::NamedTempFile;

use crate::error::Error;
use crate::folders;
use crate::input::spool::new_file;
use crate::input::{Body, Header, Layout, Mark, Record, Records, UTF8_BOM};
use crate::journal::Journal;
use crate::journal::runs::{Run, RunKey};
use crate::journal::state::State;

/// What the name of a spool that was cut down has after the run's own.
const CUT: &str = ".cut";

/// The rows of one run.
#[derive(Debug)]
pub struct Spooled {
    run: RunKey,
    records: Records,
    record: Record,
    /// Each row that was kept has a mark; the others are gone.
    is_cut: bool,
}

impl Spooled {
    /// Opens the spool of a run; `None` if nothing needs it any more.
    pub fn open(journal: &Journal, run: &Run) -> Result<Option<Self>, Error> {
        let Some(name) = &run.spool else { return Ok(None) };
        let path = journal.spool_folder().join(name);
        if !path.exists() {
            let way_out = if is_whole(run) {
                "give the original file again with deskload run FILE"
            } else {
                "send the original file anew with deskload run FILE --again"
            };
            return Err(Error::Machine(format!(
                "the spool {} is gone, so the rows of run {} cannot be read; put it back, or {way_out}",
                path.display(),
                run.key.id
            )));
        }
        let records = Records::open(&path, &run.layout)?;
        Ok(Some(Self { run: run.key, records, record: Record::new(), is_cut: name.contains(CUT) }))
    }

    /// The columns; `None` for JSONL.
    #[must_use]
    pub fn header(&self) -> Option<&Header> {
        self.records.header()
    }

    /// The row with this number. Rows in order cost one reading of the spool.
    pub fn at(&mut self, journal: &Journal, number: u64) -> Result<&Record, Error> {
        if self.is_cut || self.record.number() + 1 != number {
            let mark = journal.mark_before(self.run, number)?;
            let mark =
                mark.filter(|mark| !self.is_cut || mark.row == number).ok_or_else(|| missing(number))?;
            let reading = self.record.number() + 1;
            if reading > number || mark.row > reading || self.record.number() == 0 {
                self.records.seek(&mark)?;
                self.next(number)?;
            }
        }
        while self.record.number() < number {
            self.next(number)?;
        }
        Ok(&self.record)
    }

    fn next(&mut self, wanted: u64) -> Result<(), Error> {
        if self.records.next(&mut self.record)? { Ok(()) } else { Err(missing(wanted)) }
    }
}

fn missing(number: u64) -> Error {
    Error::Machine(format!(
        "row {number} is not in the spool any more: the spool beside the journal was changed; nothing more is \
         sent, and what was is in the journal"
    ))
}

/// Whether the spool that the run names is the whole input, not what was left of it once nothing was pending.
fn is_whole(run: &Run) -> bool {
    run.spool.as_ref().is_some_and(|name| *name == Run::spool_name(run.key.id))
}

/// Whether the rows of a run are lost, and the same input taken in again would bring them back.
#[must_use]
pub fn wants_its_input(journal: &Journal, run: &Run) -> bool {
    is_whole(run) && !journal.spool_folder().join(Run::spool_name(run.key.id)).exists()
}

/// Makes the folder of the spools, for its owner alone.
pub fn make_folder(journal: &Journal) -> Result<PathBuf, Error> {
    let folder = journal.spool_folder();
    folders::make(&folder)?;
    Ok(folder)
}

/// What a run writes besides its spool, beyond a fixed part: the journal's share of a row is smaller than the row.
const JOURNAL_BYTES_MIN: u64 = 32 << 20;

/// Refuses to begin what a disk that is nearly full could not finish. An estimate: others write there, too.
pub fn check_space(folder: &Path, input_bytes: u64) -> Result<(), Error> {
    let space = rustix::fs::statvfs(folder)
        .map_err(|error| Error::file("look at the disk of", folder, &error.into()))?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let needed = input_bytes.saturating_mul(2).saturating_add(JOURNAL_BYTES_MIN);
    if free >= needed {
        return Ok(());
    }
    Err(Error::Machine(format!(
        "{} has {} MiB free, and this input may need {} MiB for its copy and the journal; make room, or name a \
         journal elsewhere with --journal; nothing was sent",
        folder.display(),
        free >> 20,
        needed >> 20
    )))
}

/// Puts a spool that was just taken in the place that its run names.
pub fn keep(folder: &Path, taken: NamedTempFile, name: &str) -> Result<(), Error> {
    let path = folder.join(name);
    taken.persist(&path).map_err(|error| Error::file("keep the spool", &path, &error.error))?;
    folders::sync(folder)
}

/// Once nothing is pending, keeps of a spool only the rows that reports still tell of: rows are personal data.
pub fn cut_down(journal: &mut Journal, run: &Run) -> Result<(), Error> {
    if !run.is_finished() || run.spool.is_none() {
        return Ok(());
    }
    let old = run.spool.as_ref().map(|name| journal.spool_folder().join(name));
    let folder = journal.spool_folder();
    let told = keep_told(journal, run)?;
    let name = told.is_some().then(|| cut_name(run));
    let (file, marks) = told.unzip();
    journal.replace_spool(run.key, name.as_deref(), &marks.unwrap_or_default(), || {
        file.zip(name.as_deref()).map_or(Ok(()), |(file, name)| keep(&folder, file, name))
    })?;
    // A kill here leaves a spool that no run names: the next start sweeps it up, as one for another account may
    // have done just now.
    let Some(old) = old.filter(|old| name.is_none_or(|name| !old.ends_with(name))) else { return Ok(()) };
    match fs::remove_file(&old) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::file("remove the spool", &old, &error))
        }
        _ => Ok(()),
    }
}

/// A name that the spool of this run has not had: counted on from the one it has.
fn cut_name(run: &Run) -> String {
    let before = run.spool.as_deref().and_then(|name| name.split(CUT).nth(1)).and_then(|n| n.parse().ok());
    format!("{}{CUT}{}", Run::spool_name(run.key.id), before.map_or(1, |before: u64| before + 1))
}

/// Copies the rows that are failed, invalid or in doubt. `None`: there are none.
fn keep_told(journal: &Journal, run: &Run) -> Result<Option<(NamedTempFile, Vec<Mark>)>, Error> {
    if !run.counts.need_attention() {
        return Ok(None);
    }
    let Some(mut spooled) = Spooled::open(journal, run)? else { return Ok(None) };
    let folder = journal.spool_folder();
    let failed = |error: io::Error| Error::file("cut down the spool in", &folder, &error);
    let file = new_file(&folder).map_err(failed)?;
    let mut out = Copy::begin(BufWriter::new(file), run.layout, spooled.header()).map_err(failed)?;
    let mut marks = Vec::new();
    let mut after = 0;
    loop {
        let page = journal.told_page(
            run.key,
            &[State::Failed, State::Invalid, State::InDoubt],
            after,
            run.counts.rows,
        )?;
        let Some(last) = page.last() else { break };
        after = last.row;
        for told in &page {
            let record = spooled.at(journal, told.row)?;
            marks.push(Mark { row: told.row, byte: out.bytes, line: record.line() });
            out.record(record).map_err(failed)?;
        }
    }
    let file = out.finish().map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    Ok(Some((file, marks)))
}

/// Writes records as they were, and counts bytes. Quotes may differ; cells do not.
struct Copy {
    out: BufWriter<NamedTempFile>,
    layout: Layout,
    bytes: u64,
}

impl Copy {
    fn begin(out: BufWriter<NamedTempFile>, layout: Layout, header: Option<&Header>) -> io::Result<Self> {
        let mut copy = Self { out, layout, bytes: 0 };
        if let Some(header) = header {
            copy.cells(header.cells())?;
        }
        Ok(copy)
    }

    fn record(&mut self, record: &Record) -> io::Result<()> {
        match record.body() {
            Body::Csv(cells) => self.cells(cells),
            Body::Jsonl(line) => {
                self.write(line)?;
                self.write(b"\n")
            }
        }
    }

    fn cells(&mut self, cells: &csv::ByteRecord) -> io::Result<()> {
        let mut writer =
            csv::WriterBuilder::new().flexible(true).delimiter(self.layout.delimiter).from_writer(Vec::new());
        writer.write_byte_record(cells)?;
        let text = writer.into_inner().map_err(csv::IntoInnerError::into_error)?;
        if self.bytes == 0 && text.starts_with(UTF8_BOM) {
            // A column whose name begins with a mark: the reader would take it for the file's own.
            self.write(UTF8_BOM)?;
        }
        self.write(&text)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    fn finish(self) -> io::Result<NamedTempFile> {
        self.out.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

/// A temporary file has its lock a moment after it was made, so that only one that is older may be swept.
const SWEPT_AFTER: Duration = Duration::from_secs(60);

/// Removes what killed processes left: copies that they had half taken, which nobody has locked any more, and
/// spools that no run names, because the kill came before the commit that would have, or after the one that named
/// another. The journal lets nobody put a spool in place meanwhile.
pub fn sweep(journal: &mut Journal) -> Result<(), Error> {
    let folder = make_folder(journal)?;
    journal.look_at_spools(|named| {
        let failed = |error: io::Error| Error::file("look through the folder", &folder, &error);
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if is_left_over(&entry, named) {
                // It may have removed itself just now: fine.
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(())
    })
}

/// Removes the copies that killed processes left in a folder where nothing else is kept.
pub(crate) fn sweep_copies(folder: &Path) -> Result<(), Error> {
    let failed = |error: io::Error| Error::file("look through the folder", folder, &error);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if is_left_over(&entry, &HashSet::new()) {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

fn is_left_over(entry: &DirEntry, named: &HashSet<String>) -> bool {
    let name = entry.file_name();
    let Some(name) = name.to_str() else { return false };
    if name.starts_with('.') {
        let is_old = entry
            .metadata()
            .and_then(|metadata| metadata.modified())
            .is_ok_and(|changed| changed.elapsed().is_ok_and(|age| age > SWEPT_AFTER));
        return is_old && File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok());
    }
    name.starts_with("run-") && name.contains(".spool") && !named.contains(name)
}

#[cfg(test)]
mod tests;
