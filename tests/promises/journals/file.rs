//! The journal in a file.

use deskload::input::Seen;
use deskload::input::spool::Taken;
use deskload::journal::Journal;
use deskload::journal::archive::Archive;
use deskload::journal::runs::{NewRun, Run};
use deskload::spooled;
use tempfile::TempDir;

use super::{Engine, desk};

pub(in crate::journals) struct File {
    journal: Journal,
    _folder: TempDir,
}

impl Engine for File {
    type Worker = Journal;

    fn open() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&folder.path().join("journal.sqlite3")).unwrap();
        Some(Self { journal, _folder: folder })
    }

    fn archive(&mut self) -> &mut dyn Archive {
        &mut self.journal
    }

    fn begin_first_pass(&mut self) {
        self.journal.begin_first_pass().unwrap();
    }

    fn note(&mut self, seen: Seen<'_>) {
        self.journal.note(seen).unwrap();
    }

    fn open_run(&mut self, taken: Taken, new: &NewRun<'_>) -> Run {
        let folder = spooled::make_folder(&self.journal).unwrap();
        self.journal.open_run(new, |name| spooled::keep(&folder, taken.file, name)).unwrap()
    }

    fn worker(&mut self, _run: &Run) -> Journal {
        self.journal.open_again().unwrap()
    }

    fn leave(&mut self, worker: Journal) {
        worker.close().unwrap();
    }

    fn found_after(&mut self, killed: Journal, _run: &Run) -> u64 {
        drop(killed);
        self.journal.recover(&desk()).unwrap()
    }
}
