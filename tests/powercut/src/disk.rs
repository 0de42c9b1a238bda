//! A disk with a cache that forgets: it plays a tape, and says what a power cut at this moment may leave.
//!
//! What was synced is there. Of what was written since the file's last sync, each sector has any of the contents that
//! it had meanwhile, whatever the other sectors have; or it is torn, one end of it newer than the other. The file's
//! length is any that it had meanwhile. A name is as it was after the last sync of its folder, or as it was at any
//! time since, so that what was removed may come back; what lies in a folder that is gone is gone.
//!
//! SQLite says that it copes with torn sectors; the account file says that its one sector of 512 bytes is written whole
//! or not, and so it is here.
//!
//! Not modelled: a disk that says no to a read afterwards, and one that harms what it was not asked to write.

use std::collections::BTreeMap;

use fastrand::Rng;

use crate::tape::{Event, FileId, Image, JOURNAL, TOP, Tape, folder_of, is_sqlite};

/// Whether the disk does as it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syncs {
    Honoured,
    /// It says yes, and does nothing.
    Ignored,
}

/// What reaches the disk of that which was not synced.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Luck {
    Nothing,
    Everything,
    /// Each sector for itself, so many in a hundred.
    Percent(u8),
    /// One sector of all is lost, or torn.
    AllButOne,
    /// One sector of all has arrived.
    OnlyOne,
    /// One sector of the write-ahead log is torn; all else has arrived.
    TornLog,
}

impl Luck {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        match rng.u8(..8) {
            0 => Self::Nothing,
            1 => Self::Everything,
            2 => Self::OnlyOne,
            3 | 4 => Self::AllButOne,
            _ => Self::Percent([10, 50, 90][rng.usize(..3)]),
        }
    }
}

/// What a cut has left.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) image: Image,
    /// Sectors that had been written and not synced, of the journal's file and of others.
    pub(crate) unsynced_journal: usize,
    pub(crate) unsynced_other: usize,
    /// Of them, torn.
    pub(crate) torn: usize,
}

enum Change<'a> {
    Write { at: usize, bytes: &'a [u8] },
    Truncate { to: usize },
}

#[derive(Default)]
struct File<'a> {
    durable: Vec<u8>,
    pending: Vec<Change<'a>>,
}

pub(crate) struct Disk<'a> {
    tape: &'a Tape,
    at: usize,
    syncs: Syncs,
    files: BTreeMap<FileId, File<'a>>,
    /// What each name may stand for: as on disk, then as it was since.
    names: BTreeMap<&'a str, Vec<Option<FileId>>>,
}

/// How a sector comes through: so many of its versions are over, and a part of the next one has arrived.
#[derive(Clone, Copy)]
struct Fate {
    versions: usize,
    /// So many bytes of it, from its beginning or up to its end.
    torn: Option<(usize, End)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Head,
    Tail,
}

impl<'a> Disk<'a> {
    pub(crate) fn new(tape: &'a Tape, syncs: Syncs) -> Self {
        let mut disk = Self { tape, at: 0, syncs, files: BTreeMap::new(), names: BTreeMap::new() };
        for (id, name, bytes) in tape.first_files() {
            disk.files.insert(id, File { durable: bytes.to_vec(), pending: Vec::new() });
            disk.names.insert(name, vec![Some(id)]);
        }
        disk
    }

    /// Plays the tape up to, and without, the event `to`.
    pub(crate) fn play(&mut self, to: usize) {
        let tape = self.tape;
        for event in &tape.events[self.at..to] {
            self.take(event);
        }
        self.at = to;
    }

    fn take(&mut self, event: &'a Event) {
        match event {
            Event::Created { name, file } => {
                self.files.insert(*file, File::default());
                self.names.entry(name).or_insert_with(|| vec![None]).push(Some(*file));
            }
            Event::Deleted { name } => self.names.entry(name).or_insert_with(|| vec![None]).push(None),
            Event::Wrote { file, at, bytes } => self.change(*file, Change::Write { at: *at, bytes }),
            Event::Truncated { file, to } => self.change(*file, Change::Truncate { to: *to }),
            Event::Synced { .. } | Event::FolderSynced { .. } if self.syncs == Syncs::Ignored => {}
            Event::Synced { file } => self.files.get_mut(file).unwrap().settle(),
            Event::FolderSynced { folder } => {
                let names = self.names.iter_mut().filter(|(name, _)| folder_of(name) == *folder);
                for (_, versions) in names {
                    versions.drain(..versions.len() - 1);
                }
            }
        }
    }

    fn change(&mut self, file: FileId, change: Change<'a>) {
        self.files.get_mut(&file).unwrap().pending.push(change);
    }

    /// Cuts the power now.
    pub(crate) fn cut(&self, luck: Luck, rng: &mut Rng) -> Left {
        let large = [512, 4096][rng.usize(..2)];
        let mut left = Left { image: Image::new(), unsynced_journal: 0, unsynced_other: 0, torn: 0 };
        for (name, versions) in &self.names {
            let last = versions.len() - 1;
            let version = match luck {
                Luck::Nothing => 0,
                Luck::Everything | Luck::TornLog => last,
                _ => rng.usize(..=last),
            };
            let Some(id) = versions[version] else { continue };
            let file = &self.files[&id];
            let sector = if is_sqlite(name) { large } else { 512 };
            let written = file.written(sector);
            let unsynced =
                if *name == JOURNAL { &mut left.unsynced_journal } else { &mut left.unsynced_other };
            *unsynced += written.len();
            let fates = self.fates(luck, name, &written, sector, rng);
            left.torn += fates.values().filter(|fate| fate.torn.is_some()).count();
            let length = file.length(luck, rng);
            left.image.insert((*name).to_owned(), file.after(&fates, length, sector));
        }
        let is_lost = |name: &str, image: &Image| {
            let mut folder = folder_of(name);
            while folder != TOP && image.contains_key(&format!("{folder}/")) {
                folder = folder_of(folder);
            }
            folder != TOP
        };
        let lost: Vec<String> =
            left.image.keys().filter(|name| is_lost(name, &left.image)).cloned().collect();
        left.image.retain(|name, _| !lost.contains(name));
        if rng.u8(..4) == 0 {
            // Nobody syncs the shared memory, and it is a file all the same: it may come back with anything in it.
            let noise = std::iter::repeat_with(|| rng.u8(..)).take(32 << 10).collect();
            left.image.insert(format!("{JOURNAL}-shm"), noise);
        }
        left
    }

    /// What becomes of each sector of a file that was written and not synced. Where one sector is singled out, it is
    /// one of the log, if anything of the log is pending.
    fn fates(
        &self,
        luck: Luck,
        name: &str,
        written: &BTreeMap<usize, usize>,
        sector: usize,
        rng: &mut Rng,
    ) -> BTreeMap<usize, Fate> {
        let in_log = |other: &str| is_sqlite(other) && other != JOURNAL && self.pends(other);
        let has_victim =
            !written.is_empty() && (name != JOURNAL || !self.names.keys().any(|name| in_log(name)));
        let victim = has_victim.then(|| *written.keys().nth(rng.usize(..written.len())).unwrap());
        let fates = written.iter().map(|(&at, &versions)| {
            let is_victim = victim == Some(at);
            let (over, may_tear) = match luck {
                Luck::Nothing => (0, false),
                Luck::OnlyOne => (if is_victim { versions } else { 0 }, false),
                Luck::AllButOne | Luck::TornLog if is_victim => {
                    (versions - 1, matches!(luck, Luck::TornLog) || rng.bool())
                }
                Luck::Percent(percent) if rng.u8(..100) >= percent => {
                    (rng.usize(..versions), rng.u8(..4) == 0)
                }
                _ => (versions, false),
            };
            let tears = may_tear && is_sqlite(name);
            let torn = tears.then(|| (rng.usize(1..sector), if rng.bool() { End::Head } else { End::Tail }));
            (at, Fate { versions: over, torn })
        });
        fates.collect()
    }

    /// Whether the file of this name has anything that was not synced.
    fn pends(&self, name: &str) -> bool {
        let newest = self.names.get(name).and_then(|versions| *versions.last()?);
        newest.is_some_and(|id| !self.files[&id].pending.is_empty())
    }
}

impl File<'_> {
    /// How often each sector was written since the last sync.
    fn written(&self, sector: usize) -> BTreeMap<usize, usize> {
        let mut written = BTreeMap::new();
        let mut length = self.durable.len();
        for change in &self.pending {
            for at in change.sectors(length, sector) {
                *written.entry(at).or_default() += 1;
            }
            length = change.length_after(length);
        }
        written
    }

    /// A length that it had since the last sync.
    fn length(&self, luck: Luck, rng: &mut Rng) -> usize {
        let mut lengths = vec![self.durable.len()];
        for change in &self.pending {
            lengths.push(change.length_after(*lengths.last().unwrap()));
        }
        match luck {
            Luck::Nothing => lengths[0],
            Luck::Percent(_) | Luck::OnlyOne if rng.bool() => lengths[rng.usize(..lengths.len())],
            _ => *lengths.last().unwrap(),
        }
    }

    /// Its bytes, if that is what became of its sectors. What was never written in its length is zeros.
    fn after(&self, fates: &BTreeMap<usize, Fate>, length: usize, sector: usize) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        let mut now = bytes.len();
        let mut seen: BTreeMap<usize, usize> = BTreeMap::new();
        for change in &self.pending {
            for at in change.sectors(now, sector) {
                let version = seen.entry(at).or_default();
                let fate = fates[&at];
                let (begin, end) = (at * sector, (at + 1) * sector);
                if *version < fate.versions {
                    change.put(&mut bytes, begin, end);
                } else if let (true, Some((part, which))) = (*version == fate.versions, fate.torn) {
                    match which {
                        End::Head => change.put(&mut bytes, begin, begin + part),
                        End::Tail => change.put(&mut bytes, begin + part, end),
                    }
                }
                *version += 1;
            }
            now = change.length_after(now);
        }
        bytes.resize(length, 0);
        bytes
    }

    /// All that is pending reaches the disk.
    fn settle(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            let length = change.length_after(self.durable.len());
            change.put(&mut self.durable, 0, usize::MAX);
            self.durable.resize(length, 0);
        }
    }
}

impl Change<'_> {
    fn length_after(&self, before: usize) -> usize {
        match self {
            Self::Write { at, bytes } => before.max(at + bytes.len()),
            Self::Truncate { to } => *to,
        }
    }

    /// The sectors that it touches in a file of this length.
    fn sectors(&self, length: usize, sector: usize) -> std::ops::Range<usize> {
        let (begin, end) = match self {
            Self::Write { at, bytes } => (*at, at + bytes.len()),
            Self::Truncate { to } => (*to, length.max(*to)),
        };
        if begin == end { 0..0 } else { begin / sector..end.div_ceil(sector) }
    }

    /// Does to `file` what it does between `begin` and `end`.
    fn put(&self, file: &mut Vec<u8>, begin: usize, end: usize) {
        match self {
            Self::Write { at, bytes } => {
                let (from, to) = (begin.max(*at), end.min(at + bytes.len()));
                if from < to {
                    file.resize(file.len().max(to), 0);
                    file[from..to].copy_from_slice(&bytes[from - at..to - at]);
                }
            }
            Self::Truncate { to } => {
                let (from, to) = (begin.max(*to), end.min(file.len()));
                if from < to {
                    file[from..to].fill(0);
                }
            }
        }
    }
}
