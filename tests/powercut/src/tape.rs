//! What was written, synced, named and removed during a life, in order: from it a disk can be made as a power cut at
//! any moment may have left it.
//!
//! SQLite's files are told by [`crate::listen`], write by write, and so is each sync. What deskload writes itself (folders,
//! spools, the account file) is looked for before each entry of the tape: it has been written since the one before, and
//! is on disk once it, or whatever name it had before, was synced, and its folder was.
//!
//! A tape is of one thread.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A folder's files by their names under it.
pub(crate) type Image = BTreeMap<String, Vec<u8>>;

/// The journal's name in its folder.
pub(crate) const JOURNAL: &str = "journal.sqlite3";

/// Where deskload keeps files of its own: spools, which never change, and the account file, which does.
const SPOOLS: &str = "journal.sqlite3.spool";
const ACCOUNTS: &str = "state/accounts";

/// All folders of a life, from the top.
pub(crate) const TOP: &str = "";
const FOLDERS: [&str; 4] = [TOP, SPOOLS, "state", ACCOUNTS];

/// A file, whatever its name is now.
pub(crate) type FileId = usize;

/// Something that happened. The name of a folder ends in `/`, and its id stands for nothing.
#[derive(Debug)]
pub(crate) enum Event {
    Created {
        name: String,
        file: FileId,
    },
    Deleted {
        name: String,
    },
    Wrote {
        file: FileId,
        at: usize,
        bytes: Vec<u8>,
    },
    Truncated {
        file: FileId,
        to: usize,
    },
    Synced {
        file: FileId,
    },
    /// The names in it, not what they stand for.
    FolderSynced {
        folder: &'static str,
    },
}

/// A life on disk.
#[derive(Debug)]
pub(crate) struct Tape {
    /// How the folder was before.
    pub(crate) start: Image,
    pub(crate) events: Vec<Event>,
}

impl Tape {
    /// What was there at the start has the first ids, in the order of its names.
    pub(crate) fn first_files(&self) -> impl Iterator<Item = (FileId, &str, &[u8])> {
        let files = self.start.iter().enumerate();
        files.map(|(id, (name, bytes))| (id, name.as_str(), bytes.as_slice()))
    }

    /// The journal itself, which never changes its name.
    pub(crate) fn journal(&self) -> Option<FileId> {
        let created = self.events.iter().find_map(|event| match event {
            Event::Created { name, file } if name == JOURNAL => Some(*file),
            _ => None,
        });
        self.start.keys().position(|name| name == JOURNAL).or(created)
    }
}

/// The folder that a file, or another folder, lies in.
pub(crate) fn folder_of(name: &str) -> &str {
    name.trim_end_matches('/').rsplit_once('/').map_or(TOP, |(folder, _)| folder)
}

/// Whether SQLite writes it. The shared memory is left out: nothing of it counts.
pub(crate) fn is_sqlite(name: &str) -> bool {
    [JOURNAL, "journal.sqlite3-wal", "journal.sqlite3-journal"].contains(&name)
}

/// Whether it is a file of deskload's own.
fn is_kept(name: &str) -> bool {
    !name.ends_with('/') && [SPOOLS, ACCOUNTS].contains(&folder_of(name))
}

struct Recorder {
    folder: PathBuf,
    tape: Tape,
    /// Names as they are now, on disk or not.
    names: BTreeMap<String, FileId>,
    files: usize,
    /// What deskload's own files hold.
    kept: Image,
    /// Files that were synced before they had the name that counts: inode and length.
    synced: HashMap<u64, u64>,
}

thread_local! {
    static RECORDER: RefCell<Option<Recorder>> = const { RefCell::new(None) };
}

/// Begins to tape what this thread does in `folder`, which holds `start`.
pub(crate) fn begin(folder: &Path, start: Image) {
    let recorder = Recorder {
        folder: folder.to_owned(),
        names: start.keys().cloned().zip(0..).collect(),
        files: start.len(),
        kept: start.iter().filter(|(name, _)| is_kept(name)).map(|(n, b)| (n.clone(), b.clone())).collect(),
        synced: HashMap::new(),
        tape: Tape { start, events: Vec::new() },
    };
    RECORDER.replace(Some(recorder));
}

/// Ends the tape and gives it.
pub(crate) fn end() -> Tape {
    let mut recorder = RECORDER.take().expect("a tape was begun");
    recorder.look();
    recorder.tape
}

/// How much is on the tape.
pub(crate) fn position() -> usize {
    taping(|recorder| {
        recorder.look();
        recorder.tape.events.len()
    })
    .expect("a tape was begun")
}

/// SQLite opens a file, and makes it if it is not there.
pub(crate) fn opened(path: &Path) -> Option<FileId> {
    taping(|recorder| {
        let name = recorder.name_of(path);
        assert!(is_sqlite(&name), "SQLite writes a file that is not expected: {name}");
        recorder.look();
        recorder.names.get(&name).copied().unwrap_or_else(|| recorder.create(name))
    })
}

/// SQLite has deleted a file.
pub(crate) fn deleted(path: &Path) {
    taping(|recorder| {
        let name = recorder.name_of(path);
        recorder.names.remove(&name);
        recorder.note(Event::Deleted { name });
    });
}

pub(crate) fn wrote(file: FileId, at: usize, bytes: &[u8]) {
    taping(|recorder| recorder.note(Event::Wrote { file, at, bytes: bytes.to_vec() }));
}

pub(crate) fn truncated(file: FileId, to: usize) {
    taping(|recorder| recorder.note(Event::Truncated { file, to }));
}

pub(crate) fn synced(file: FileId) {
    taping(|recorder| recorder.note(Event::Synced { file }));
}

/// SQLite syncs the folder of its files.
pub(crate) fn synced_top() {
    taping(|recorder| recorder.note(Event::FolderSynced { folder: TOP }));
}

/// deskload syncs what is open as this file or folder.
pub(crate) fn synced_itself(open: &Metadata) {
    taping(|recorder| {
        recorder.look();
        let is_it = |path: &Path| fs::metadata(path).is_ok_and(|other| other.ino() == open.ino());
        if open.is_dir() {
            let folder = FOLDERS.into_iter().find(|folder| is_it(&recorder.folder.join(folder)));
            recorder.note(Event::FolderSynced { folder: folder.expect("a folder of the life's") });
            return;
        }
        let name = recorder.kept.keys().find(|name| is_it(&recorder.folder.join(name)));
        match name.map(|name| recorder.names[name]) {
            Some(file) => recorder.note(Event::Synced { file }),
            None => _ = recorder.synced.insert(open.ino(), open.len()),
        }
    });
}

fn taping<T>(act: impl FnOnce(&mut Recorder) -> T) -> Option<T> {
    RECORDER.with_borrow_mut(|recorder| recorder.as_mut().map(act))
}

impl Recorder {
    fn name_of(&self, path: &Path) -> String {
        path.strip_prefix(&self.folder).expect("it lies in the life's folder").to_str().unwrap().to_owned()
    }

    fn note(&mut self, event: Event) {
        self.look();
        self.tape.events.push(event);
    }

    fn create(&mut self, name: String) -> FileId {
        let file = self.files;
        self.files += 1;
        self.names.insert(name.clone(), file);
        self.tape.events.push(Event::Created { name, file });
        file
    }

    /// Finds what deskload has done itself since the last look.
    fn look(&mut self) {
        for folder in FOLDERS.into_iter().filter(|folder| *folder != TOP) {
            let name = format!("{folder}/");
            if !self.names.contains_key(&name) && self.folder.join(folder).exists() {
                self.create(name);
            }
        }
        if !self.names.contains_key(JOURNAL) && self.folder.join(JOURNAL).exists() {
            self.create(JOURNAL.to_owned());
        }
        let mut gone: Vec<String> = self.kept.keys().cloned().collect();
        for folder in [SPOOLS, ACCOUNTS] {
            let Ok(entries) = fs::read_dir(self.folder.join(folder)) else { continue };
            for entry in entries {
                let name = entry.unwrap().file_name().into_string().unwrap();
                if name.starts_with('.') {
                    continue; // Half taken, and nobody's yet.
                }
                let name = format!("{folder}/{name}");
                gone.retain(|other| *other != name);
                self.look_at(folder, name);
            }
        }
        for name in gone {
            self.kept.remove(&name);
            self.names.remove(&name);
            self.tape.events.push(Event::Deleted { name });
        }
    }

    fn look_at(&mut self, folder: &str, name: String) {
        let before = self.kept.get(&name);
        if before.is_some() && folder == SPOOLS {
            return;
        }
        let path = self.folder.join(&name);
        let bytes = fs::read(&path).unwrap();
        if before == Some(&bytes) {
            return;
        }
        let file = self.names.get(&name).copied().unwrap_or_else(|| self.create(name.clone()));
        let found = path.metadata().unwrap();
        let to = bytes.len();
        self.kept.insert(name, bytes.clone());
        self.tape.events.push(Event::Wrote { file, at: 0, bytes });
        self.tape.events.push(Event::Truncated { file, to });
        if self.synced.remove(&found.ino()) == Some(found.len()) {
            self.tape.events.push(Event::Synced { file });
        }
    }
}
