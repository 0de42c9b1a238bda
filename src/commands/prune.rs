//! `deskload runs prune`: gives up the rows of old runs; which of them, and what stays, is the journal's business.
//!
//! It works for the accounts whose runs are in the journal. Of a journal in a file each is held while it does; one that
//! another process works for is left alone, and ends the command with exit 11 once the others are done. Of a shared
//! journal none is held: it goes on beside workers, and leaves alone what they work on. A kill loses nothing: the same
//! command goes on. Reports that were written are left as they are.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::cli::PruneArgs;
use crate::commands::{answer, now_ms, open_journal};
use crate::error::Error;
use crate::journal::Journal;
use crate::journal::account::AccountLock;
use crate::journal::archive::Archive;
use crate::journal::postgres::{Place, Shared};
use crate::journal::prune::{Prune, Pruned};
use crate::journal::runs::DeskId;
use crate::settings::{JournalPlace, journal_place, state_folder};
use crate::shutdown::Shutdown;
use crate::spooled;
use crate::text::{bytes, counted, rows, thousands};
use crate::voice::{self, Form, say};

/// Of this version of what a program is told.
const SCHEMA: u32 = 1;

/// What a program is told.
#[derive(Serialize)]
struct Told<'a> {
    schema: u32,
    dry_run: bool,
    #[serde(flatten)]
    pruned: &'a Pruned,
    bytes_given_back: u64,
}

/// What was done.
struct Done {
    pruned: Pruned,
    space: Space,
    /// Why an account was left alone.
    refused: Option<Error>,
}

/// What becomes of the room that the rows took.
enum Space {
    /// So many bytes are the disk's again.
    GivenBack(u64),
    /// The database uses it again.
    OfTheDatabase,
}

/// Runs it.
pub fn run(args: &PruneArgs) -> Result<(), Error> {
    answer(args.read.json, args.quiet, 0);
    let done = match journal_place(args.read.journal.journal.as_deref())? {
        JournalPlace::File(path) => in_file(&path, args)?,
        JournalPlace::Database(place) => in_database(&place, args)?,
    };
    match voice::form() {
        Form::Program => {
            let bytes_given_back = match done.space {
                Space::GivenBack(bytes) => bytes,
                Space::OfTheDatabase => 0,
            };
            let told = Told { schema: SCHEMA, dry_run: args.dry_run, pruned: &done.pruned, bytes_given_back };
            // Where another process is at work, that is told last.
            match done.refused {
                None => voice::tell_last("prune", told),
                Some(_) => voice::tell("prune", told),
            }
        }
        Form::Person | Form::Log => in_words(&done, args).iter().for_each(|line| say(line)),
    }
    done.refused.map_or(Ok(()), Err)
}

fn in_file(path: &Path, args: &PruneArgs) -> Result<Done, Error> {
    let before = size(path);
    let mut journal = open_journal(path)?;
    let shutdown = Shutdown::listen()?;
    let held = Held::take(&journal, args.dry_run)?;
    let pruned = prune(&mut journal, &held.free, args, &shutdown)?;
    if !args.dry_run {
        // The spools that no run names any more.
        spooled::sweep(&mut journal)?;
        if held.refused.is_none() {
            give_back(&journal);
        }
    }
    journal.close()?;
    let space = Space::GivenBack(before.saturating_sub(size(path)));
    Ok(Done { pruned, space, refused: held.refused })
}

fn in_database(place: &Place, args: &PruneArgs) -> Result<Done, Error> {
    let mut journal = Shared::open(place)?;
    let shutdown = Shutdown::listen()?;
    let mut desks: Vec<DeskId> = Vec::new();
    for run in journal.runs()? {
        if !desks.contains(&run.desk) {
            desks.push(run.desk);
        }
    }
    let pruned = prune(&mut journal, &desks, args, &shutdown)?;
    Ok(Done { pruned, space: Space::OfTheDatabase, refused: None })
}

fn prune(
    journal: &mut dyn Archive,
    desks: &[DeskId],
    args: &PruneArgs,
    shutdown: &Shutdown,
) -> Result<Pruned, Error> {
    let mut done = Pruned::default();
    for desk in desks {
        let now_ms = now_ms();
        let age_ms = i64::try_from(args.older_than.0.as_millis()).unwrap_or(i64::MAX);
        let what = Prune { desk, before_ms: now_ms.saturating_sub(age_ms), now_ms, dry_run: args.dry_run };
        done.add(journal.prune(&what, &|| shutdown.check())?);
    }
    Ok(done)
}

/// The accounts of a journal.
struct Held {
    /// Those that are held by this process from now on, or only looked at.
    free: Vec<DeskId>,
    /// Why another one could not be had.
    refused: Option<Error>,
    /// Let go at the end.
    locks: Vec<AccountLock>,
}

impl Held {
    /// Takes all that nobody else has. Who only looks takes none.
    fn take(journal: &Journal, only_looks: bool) -> Result<Self, Error> {
        let mut held = Self { free: Vec::new(), refused: None, locks: Vec::new() };
        let folder = state_folder()?;
        for run in journal.runs()? {
            if held.free.contains(&run.desk) {
                continue;
            }
            if !only_looks {
                match AccountLock::acquire(&folder, &run.desk) {
                    Ok(lock) => held.locks.push(lock),
                    Err(error @ Error::Overlap(_)) => {
                        held.refused = Some(error);
                        continue;
                    }
                    Err(error) => return Err(error),
                }
            }
            held.free.push(run.desk);
        }
        Ok(held)
    }
}

/// Gives space back where that pays. What is pruned is pruned, and later runs use the space if this fails: on a full
/// disk, for instance, because the file is written anew.
fn give_back(journal: &Journal) {
    if let Err(error) = journal.give_back() {
        voice::complain(&format!("the rows are gone, but their space stays in the journal's file: {error}"));
    }
}

/// Bytes of the journal and its spools, without the companions that SQLite comes and goes with. What cannot be looked
/// at counts nothing: it is for telling alone.
fn size(journal: &Path) -> u64 {
    let spools = fs::read_dir(crate::journal::spool_folder(journal)).into_iter().flatten().flatten();
    let paths = std::iter::once(journal.to_owned()).chain(spools.map(|entry| entry.path()));
    paths.filter_map(|path| fs::metadata(path).ok()).map(|metadata| metadata.len()).sum()
}

fn in_words(Done { pruned, space, .. }: &Done, args: &PruneArgs) -> Vec<String> {
    let what = format!("{}, {}", counted(pruned.runs.len() as u64, "run"), rows(pruned.rows));
    let first = if args.dry_run {
        format!("would prune {what}; nothing was changed")
    } else {
        let space = match space {
            Space::GivenBack(0) => String::new(),
            Space::GivenBack(given_back) => format!("; {} given back", bytes(*given_back)),
            Space::OfTheDatabase if pruned.rows == 0 => String::new(),
            Space::OfTheDatabase => {
                "; their space is the table's once it is vacuumed, and none is given back to the disk"
                    .to_owned()
            }
        };
        format!("pruned {what}{space}")
    };
    let kept: Vec<String> = [
        (pruned.kept.unfinished, "unfinished (deskload resume)".to_owned()),
        (pruned.kept.in_doubt, "with rows in doubt (deskload resolve)".to_owned()),
        (pruned.kept.recent, format!("worked on in the last {}", args.older_than)),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, why)| format!("{} {why}", thousands(count)))
    .collect();
    let kept = (!kept.is_empty()).then(|| format!("kept {}", kept.join(", ")));
    [Some(first), kept].into_iter().flatten().collect()
}
