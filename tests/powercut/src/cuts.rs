//! Many lives, each cut off in many places: life by life, in parallel, until enough cuts were judged.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use fastrand::Rng;

use crate::disk::{Disk, Left, Luck, Syncs};
use crate::judge::{self, Breach, Case, Survived, What};
use crate::life::{Habit, Life, Lived};
use crate::tape::{self, Event, FileId, Image, JOURNAL};
use crate::truth::History;

/// How often a life goes on from what a cut has left: recovery, too, is cut off.
const GENERATIONS: usize = 3;

/// The first life is cut at every write that qualifies, the others at so many, drawn.
const CUTS_A_TAPE: usize = 40;

/// A torn end may have nothing new in it; drawn again until it has.
const TEARS: usize = 40;

/// Where the power is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// While a transaction is written to the log, or between two.
    Commit,
    /// While the log is copied into the journal's file, or is begun anew.
    Checkpoint,
    /// Before the log's sync, with a page of the transaction torn and all else on disk.
    TornLog,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) place: Place,
    pub(crate) habit: Habit,
    pub(crate) syncs: Syncs,
    /// So many cuts, at least.
    pub(crate) cuts: u64,
    /// Or until so many lives were found to be broken.
    pub(crate) enough: usize,
}

/// What happened, to see that it was eventful.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) lives: u64,
    pub(crate) cuts: u64,
    /// With anything in the disk's cache: in the log, or in the journal's file.
    pub(crate) unsynced: u64,
    pub(crate) unsynced_journal: u64,
    pub(crate) torn_sectors: usize,
    /// In the midst of a transaction; and of these, with it on disk all the same.
    pub(crate) under_way: u64,
    pub(crate) unacknowledged: u64,
    /// Before the journal was there; of a life that had been cut off before.
    pub(crate) unborn: u64,
    pub(crate) again: u64,
    pub(crate) in_doubt: u64,
    pub(crate) in_doubt_max: u64,
    pub(crate) transactions: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) tally: Tally,
    pub(crate) breaches: BTreeMap<What, Vec<String>>,
    broken_lives: usize,
}

/// Cuts lives off until there are enough cuts, or breaches.
pub(crate) fn run(plan: Plan) -> Found {
    let next = AtomicU64::new(0);
    let all = Mutex::new(Found::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    {
                        let all = all.lock().unwrap();
                        // A life that cannot be cut off at such a place at all must not be sought for ever.
                        let is_over = all.tally.cuts >= plan.cuts || seed >= plan.cuts;
                        if is_over || all.broken_lives >= plan.enough {
                            return;
                        }
                    }
                    let one = one(seed, plan);
                    all.lock().unwrap().add(one);
                }
            });
        }
    });
    all.into_inner().unwrap()
}

/// One seed's life. A panic in the program is a breach, too.
pub(crate) fn one(seed: u64, plan: Plan) -> Found {
    let mut found = Found::default();
    let whole = catch_unwind(AssertUnwindSafe(|| generations(seed, plan, &mut found)));
    if let Err(panic) = whole {
        let what = panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "a panic".to_owned());
        found.breach(seed, (What::Refused, what));
    }
    found.broken_lives = usize::from(!found.breaches.is_empty());
    found
}

fn generations(seed: u64, plan: Plan, found: &mut Found) {
    let mut rng = Rng::with_seed(seed);
    let concurrency = [1, 2, 4, 8][rng.usize(..4)];
    let (mut image, mut history) = (Image::new(), History::new());
    found.tally.lives += 1;
    for generation in 0..GENERATIONS {
        let folder = scratch();
        judge::put(&image, folder.path());
        let lived = Life::live(rng.fork(), plan.habit, concurrency, folder.path(), image, history);
        let lived = match lived {
            Ok(lived) => lived,
            Err(error) => return found.breach(seed, (What::Refused, error.to_string())),
        };
        found.tally.transactions += lived.history.transactions();
        let cuts = Cuts { seed, plan, concurrency, generation, lived: &lived };
        match cuts.all(&mut rng, found) {
            Some(next) => (image, history) = next,
            None => return,
        }
    }
}

/// The cuts of one tape.
struct Cuts<'a> {
    seed: u64,
    plan: Plan,
    concurrency: usize,
    generation: usize,
    lived: &'a Lived,
}

impl Cuts<'_> {
    /// Cuts, and gives what one of the cuts has left, to go on from.
    fn all(&self, rng: &mut Rng, found: &mut Found) -> Option<(Image, History)> {
        let mut places = places(self.plan.place, self.lived);
        if (self.seed, self.generation) != (0, 0) {
            rng.shuffle(&mut places);
            places.truncate(CUTS_A_TAPE);
            places.sort_unstable();
        }
        let goes_on = rng.usize(..places.len().max(1));
        let mut disk = Disk::new(&self.lived.tape, self.plan.syncs);
        let mut next = None;
        for (nth, cut) in places.into_iter().enumerate() {
            disk.play(cut);
            let Some(left) = self.cut(&disk, rng) else { continue };
            match self.judge(cut, &left, rng, found) {
                Ok(survived) if nth == goes_on || next.is_none() => {
                    next = Some((left.image, self.lived.history.clone().going_on(cut, survived.done)));
                }
                Ok(_) => {}
                Err(breaches) => {
                    for (what, why) in breaches {
                        let place = format!("generation {} cut {cut}: {why}", self.generation);
                        found.breach(self.seed, (what, place));
                    }
                }
            }
        }
        next.filter(|_| found.breaches.is_empty())
    }

    fn cut(&self, disk: &Disk<'_>, rng: &mut Rng) -> Option<Left> {
        if self.plan.place != Place::TornLog {
            return Some(disk.cut(Luck::draw(rng), rng));
        }
        let whole = disk.cut(Luck::Everything, rng);
        let log = format!("{JOURNAL}-wal");
        let mut tears = (0..TEARS).map(|_| disk.cut(Luck::TornLog, rng));
        tears.find(|left| left.torn > 0 && left.image.get(&log) != whole.image.get(&log))
    }

    fn judge(
        &self,
        cut: usize,
        left: &Left,
        rng: &mut Rng,
        found: &mut Found,
    ) -> Result<Survived, Vec<Breach>> {
        let history = &self.lived.history;
        let tally = &mut found.tally;
        tally.cuts += 1;
        tally.unsynced += u64::from(left.unsynced_journal + left.unsynced_other > 0);
        tally.unsynced_journal += u64::from(left.unsynced_journal > 0);
        tally.torn_sectors += left.torn;
        tally.under_way += u64::from(history.done_by(cut).1);
        tally.unborn += u64::from(!left.image.contains_key(JOURNAL));
        tally.again += u64::from(self.generation > 0);
        let case = Case {
            history,
            cut,
            concurrency: self.concurrency,
            may_be_done: self.plan.place != Place::TornLog,
            goes_on: self.plan.place == Place::TornLog || rng.u8(..4) == 0,
        };
        let folder = scratch();
        judge::put(&left.image, folder.path());
        let survived = judge::judge(&case, folder.path())?;
        tally.unacknowledged += u64::from(survived.unacknowledged);
        tally.in_doubt += survived.in_doubt;
        tally.in_doubt_max = tally.in_doubt_max.max(survived.in_doubt);
        Ok(survived)
    }
}

/// The moments that qualify, in order. A cut at a moment is before the event that it names.
fn places(place: Place, lived: &Lived) -> Vec<usize> {
    let events = &lived.tape.events;
    let journal = lived.tape.journal();
    let copies = |at: usize| events.get(at).is_some_and(|event| is_checkpoint(event, journal));
    let near = |cut: usize| copies(cut) || cut.checked_sub(1).is_some_and(copies);
    // The last write of a transaction is in the cache, and its sync comes next.
    let ends = |cut: usize| match (cut.checked_sub(1).map(|before| &events[before]), events.get(cut)) {
        (Some(Event::Wrote { .. }), Some(Event::Synced { file })) => Some(*file) != journal,
        _ => false,
    };
    let qualifies = |cut: &usize| match place {
        Place::Commit => !near(*cut),
        Place::Checkpoint => near(*cut),
        Place::TornLog => ends(*cut) && lived.history.done_by(*cut).1,
    };
    (0..=events.len()).filter(qualifies).collect()
}

fn is_checkpoint(event: &Event, journal: Option<FileId>) -> bool {
    match event {
        Event::Wrote { file, .. } | Event::Truncated { file, .. } | Event::Synced { file } => {
            Some(*file) == journal
        }
        Event::Deleted { name } => tape::is_sqlite(name),
        Event::Created { .. } | Event::FolderSynced { .. } => false,
    }
}

impl Found {
    fn breach(&mut self, seed: u64, (what, why): Breach) {
        self.breaches.entry(what).or_default().push(format!("seed {seed} {why}"));
    }

    fn add(&mut self, other: Self) {
        let (tally, more) = (&mut self.tally, other.tally);
        tally.lives += more.lives;
        tally.cuts += more.cuts;
        tally.unsynced += more.unsynced;
        tally.unsynced_journal += more.unsynced_journal;
        tally.torn_sectors += more.torn_sectors;
        tally.under_way += more.under_way;
        tally.unacknowledged += more.unacknowledged;
        tally.unborn += more.unborn;
        tally.again += more.again;
        tally.in_doubt += more.in_doubt;
        tally.in_doubt_max = tally.in_doubt_max.max(more.in_doubt_max);
        tally.transactions += more.transactions;
        for (what, whys) in other.breaches {
            self.breaches.entry(what).or_default().extend(whys);
        }
        self.broken_lives += other.broken_lives;
    }

    /// One breach of each kind, to read.
    pub(crate) fn samples(&self) -> Vec<(What, &String)> {
        self.breaches.iter().map(|(what, whys)| (*what, &whys[0])).collect()
    }

    /// How many breaches of this kind.
    pub(crate) fn count(&self, what: What) -> usize {
        self.breaches.get(&what).map_or(0, Vec::len)
    }
}

/// A folder where nothing costs a seek: the tape alone says what was synced.
fn scratch() -> tempfile::TempDir {
    let shared = Path::new("/dev/shm");
    let base = if shared.is_dir() { PathBuf::from(shared) } else { std::env::temp_dir() };
    tempfile::tempdir_in(base.canonicalize().unwrap()).unwrap()
}
