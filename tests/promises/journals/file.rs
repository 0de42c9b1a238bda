//! The journal in a file.

use deskload::journal::Journal;
use deskload::journal::archive::Archive;
use deskload::journal::runs::Run;
use deskload::spooled;
use tempfile::TempDir;

use super::{Engine, desk};

pub(in crate::journals) struct File {
    journal: Journal,
    _folder: TempDir,
}

impl File {
    /// Its tables, beside the journal.
    pub(super) fn tables(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.journal.path()).unwrap()
    }
}

impl Engine for File {
    type Worker = Journal;

    fn open() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&folder.path().join("journal.sqlite3")).unwrap();
        spooled::make_folder(&journal).unwrap();
        Some(Self { journal, _folder: folder })
    }

    fn archive(&mut self) -> &mut dyn Archive {
        &mut self.journal
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
