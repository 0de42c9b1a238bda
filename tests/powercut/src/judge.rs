//! What must be true once deskload has opened what a power cut has left.
//!
//! The journal is opened and recovered by the production code, and read beside it in plain SQL: its own queries are
//! among what is tested.

use std::fs;
use std::path::Path;

use deskload::error::Error;
use deskload::input::Record;
use deskload::journal::Journal;
use deskload::journal::account::AccountLock;
use deskload::journal::state::{Ending, State};
use deskload::journal::transitions::Batch;
use deskload::spooled::{self, Spooled};
use rusqlite::Connection;

use crate::life::{self, desk, state_folder};
use crate::session;
use crate::tape::{Image, JOURNAL};
use crate::truth::{Held, HeldRun, History};

/// What was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    /// A row that the desk has seen would go out again.
    Repeated,
    /// What was acknowledged is gone.
    Lost,
    /// Applied, says the journal, and the desk never did.
    Invented,
    /// The rows stand as after no transaction at all, or as after one that cannot have been committed.
    Mixed,
    /// Counters and rows disagree.
    Counts,
    /// SQLite finds the file damaged.
    Damaged,
    /// deskload refuses to go on.
    Refused,
    /// More rows in doubt than one cut may cost.
    Doubts,
    /// The account file has forgotten a start, and would take an older journal for the newest.
    Forgotten,
    /// A run cannot be gone on with, because its rows are gone.
    Spool,
}

pub(crate) type Breach = (What, String);

/// What a cut has come to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Survived {
    /// So many transactions are in the journal.
    pub(crate) done: usize,
    /// Of them the last was not acknowledged.
    pub(crate) unacknowledged: bool,
    pub(crate) in_doubt: u64,
}

/// The case that is judged.
pub(crate) struct Case<'a> {
    pub(crate) history: &'a History,
    /// A position of the tape.
    pub(crate) cut: usize,
    pub(crate) concurrency: usize,
    /// Whether a transaction that was under way may be in it.
    pub(crate) may_be_done: bool,
    /// Whether to commit once more, be killed, and start again.
    pub(crate) goes_on: bool,
}

/// Puts an image into an empty folder.
pub(crate) fn put(image: &Image, folder: &Path) {
    for (name, bytes) in image {
        // The names are in order: a folder comes before what lies in it.
        let path = folder.join(name);
        if name.ends_with('/') { fs::create_dir(path).unwrap() } else { fs::write(path, bytes).unwrap() }
    }
}

/// Opens what is left in `folder`, and looks.
pub(crate) fn judge(case: &Case<'_>, folder: &Path) -> Result<Survived, Vec<Breach>> {
    let mut breaches = Vec::new();
    match recover(case, folder, &mut breaches) {
        Ok(survived) if breaches.is_empty() => Ok(survived),
        Ok(_) => Err(breaches),
        Err(error) => {
            breaches.push((What::Refused, error.to_string()));
            Err(breaches)
        }
    }
}

fn recover(case: &Case<'_>, folder: &Path, breaches: &mut Vec<Breach>) -> Result<Survived, Error> {
    let path = folder.join(JOURNAL);
    let (known, started) = (life::epoch(folder), case.history.epoch(case.cut));
    if known < started {
        breaches.push((What::Forgotten, format!("start {started} is forgotten, {known} is known")));
    }
    let mut account = AccountLock::acquire(&state_folder(folder), &desk())?;
    let mut journal = Journal::open(&path)?;
    account.confirm(&mut journal, &desk(), false)?;
    let beside = Connection::open(&path).unwrap();
    let survived = survived(case, &held(&beside)?, breaches);
    let found = journal.recover(&desk())?;
    if found > 2 * case.concurrency as u64 {
        breaches
            .push((What::Doubts, format!("{found} rows are in doubt, {} go out at once", case.concurrency)));
    }
    if journal.recover(&desk())? != 0 {
        breaches.push((What::Doubts, "recovering twice finds more".to_owned()));
    }
    spooled::sweep(&mut journal)?;
    let after = held(&beside)?;
    let (expected, _) = case.history.after(survived.done).recovered();
    if breaches.is_empty() && after != expected {
        breaches.push((
            What::Mixed,
            "recovery does something else than put in doubt what was on its way".to_owned(),
        ));
    }
    look_at_rows(case, &after, breaches);
    look_at_file(&beside, breaches);
    look_at_spools(&journal, &after, breaches);
    if case.goes_on && breaches.is_empty() {
        go_on(journal, &beside, &path, breaches)?;
    }
    Ok(Survived { in_doubt: found, ..survived })
}

/// Which transactions are in the journal: all that were acknowledged, and the one under way whole or not at all.
fn survived(case: &Case<'_>, found: &Held, breaches: &mut Vec<Breach>) -> Survived {
    let (done, under_way) = case.history.done_by(case.cut);
    let none = Survived { done, unacknowledged: false, in_doubt: 0 };
    if found == case.history.after(done) {
        return none;
    }
    if under_way && found == case.history.after(done + 1) {
        if !case.may_be_done {
            breaches.push((What::Mixed, "a transaction is in, of which a page was torn".to_owned()));
        }
        return Survived { done: done + 1, unacknowledged: true, ..none };
    }
    match (0..done).rev().find(|before| found == case.history.after(*before)) {
        Some(before) => breaches.push((What::Lost, format!("{} transactions are gone", done - before))),
        None => breaches.push((What::Mixed, "the rows stand as after no transaction".to_owned())),
    }
    none
}

/// What the desk has seen, against what the journal says.
fn look_at_rows(case: &Case<'_>, found: &Held, breaches: &mut Vec<Breach>) {
    for place in case.history.bound(case.cut) {
        let state = found.state(place);
        if matches!(state, None | Some(State::Pending | State::Sending)) {
            breaches.push((What::Repeated, format!("row {place:?} is {state:?}, and the desk has seen it")));
        }
    }
    for (index, run) in found.runs.iter().enumerate() {
        for (row, state) in run.rows.iter().enumerate() {
            let place = (index, row);
            if *state == Some(State::Applied) && !case.history.is_applied(place, case.cut) {
                breaches.push((What::Invented, format!("row {place:?} is called applied")));
            }
        }
    }
}

/// Counters, entries below the cursor, and SQLite's own opinion.
fn look_at_file(conn: &Connection, breaches: &mut Vec<Breach>) {
    let text =
        |sql: &str| conn.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap_or_else(|e| e.to_string());
    let integrity = text("PRAGMA integrity_check");
    if integrity != "ok" {
        breaches.push((What::Damaged, integrity));
    }
    let orphans = text("SELECT coalesce(group_concat(\"table\"), '') FROM pragma_foreign_key_check");
    if !orphans.is_empty() {
        breaches.push((What::Damaged, format!("entries of {orphans} belong to no run")));
    }
    let wrong = text(
        "SELECT coalesce(group_concat(id), '') FROM run WHERE
             (applied, failed, invalid, in_doubt, skipped, 0) <> (
                 SELECT count(*) FILTER (WHERE state = 1), count(*) FILTER (WHERE state = 3),
                     count(*) FILTER (WHERE state = 4), count(*) FILTER (WHERE state = 5),
                     count(*) FILTER (WHERE state = 6), count(*) FILTER (WHERE state = 0)
                 FROM row WHERE key > key_before AND key <= key_before + rows)
             OR (SELECT count(*) FROM row WHERE key > key_before AND key < key_before + cursor) <> cursor - 1",
    );
    if !wrong.is_empty() {
        breaches.push((What::Counts, format!("the counters of run {wrong} are not those of its rows")));
    }
}

/// The rows that are not settled can be read, and so can those that a report tells of.
fn look_at_spools(journal: &Journal, found: &Held, breaches: &mut Vec<Breach>) {
    for run in journal.runs().unwrap_or_default() {
        let rows = &found.runs[usize::try_from(run.key.id).unwrap() - 1].rows;
        let is_needed = |state: &Option<State>| !matches!(state, Some(State::Applied | State::Skipped));
        let ends = [rows.iter().position(is_needed), rows.iter().rposition(is_needed)];
        for row in ends.into_iter().flatten() {
            let read = Spooled::open(journal, &run).and_then(|spooled| {
                let mut spooled =
                    spooled.ok_or_else(|| Error::Machine("the run names no spool".to_owned()))?;
                spooled.at(journal, row as u64 + 1).map(Record::number)
            });
            if let Err(error) = read {
                breaches.push((What::Spool, error.to_string()));
            }
        }
    }
}

/// A journal that was cut off takes commits, and keeps them over a kill.
fn go_on(
    mut journal: Journal,
    beside: &Connection,
    path: &Path,
    breaches: &mut Vec<Breach>,
) -> Result<(), Error> {
    let before = held(beside)?;
    for run in journal.runs()? {
        let index = usize::try_from(run.key.id).unwrap() - 1;
        let free =
            before.runs[index].rows.iter().position(|state| matches!(state, None | Some(State::Pending)));
        let Some(row) = free else { continue };
        let intent = session::intent_for(row as u64 + 1, 0);
        let wanted = vec![intent];
        let permit = journal.commit(run.key, &Batch { wanted, ..Batch::default() })?.permits.remove(0);
        let outcome = permit.send().settle(Ending::Applied, std::time::Duration::ZERO);
        journal.commit(run.key, &Batch { outcomes: vec![outcome], ..Batch::default() })?;
        drop(journal);
        let journal = Journal::open(path)?;
        let mut expected = before;
        expected.set((index, row), State::Applied);
        expected.runs[index].attempts += 1;
        if held(beside)? != expected {
            breaches.push((What::Lost, "what was committed after the cut is gone".to_owned()));
        }
        look_at_file(beside, breaches);
        return journal.close();
    }
    Ok(())
}

fn held(conn: &Connection) -> Result<Held, Error> {
    let read = || -> rusqlite::Result<Held> {
        let mut runs = conn.prepare("SELECT key_before, rows, attempts FROM run ORDER BY id")?;
        let mut rows = conn.prepare("SELECT key - ?1, state FROM row WHERE key > ?1 AND key <= ?1 + ?2")?;
        let mut found = runs.query([])?;
        let mut held = Held::default();
        while let Some(run) = found.next()? {
            let (key_before, count): (i64, usize) = (run.get(0)?, run.get(1)?);
            let mut states = vec![None; count];
            let mut entries = rows.query((key_before, count))?;
            while let Some(entry) = entries.next()? {
                let number: usize = entry.get(0)?;
                states[number - 1] = State::from_code(entry.get(1)?);
            }
            held.runs.push(HeldRun { rows: states, attempts: run.get(2)? });
        }
        Ok(held)
    };
    read().map_err(|error| Error::Machine(format!("the journal cannot be read: {error}")))
}
