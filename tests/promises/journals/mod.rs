//! One suite, two journals: the same cases on a file of this machine and in a real PostgreSQL.
//!
//! A case sees a journal as the program does: [`Commits`] takes batches in and gives permits, [`Archive`] tells how rows
//! stand. Where PostgreSQL is missing, its half says that it was not run.

mod alike;
mod at_work;
mod changed;
mod database;
mod file;
mod homes;
mod keys;
mod lives;
mod newer;
mod page;
mod prune;
mod rows;
mod samples;
mod several;
mod words;

use std::time::Duration;

use deskload::error::Error;
use deskload::input::spool::{self, Taken};
use deskload::input::{Format, Layout, Records, Survey, survey};
use deskload::journal::archive::{Archive, OnRow};
use deskload::journal::fingerprint::{FieldBits, Fingerprint};
use deskload::journal::runs::{Counts, DeskId, InputId, NewRun, Run};
use deskload::journal::state::{Ending, Intent, Note, Permit, Reason, State};
use deskload::journal::transitions::Batch;
use deskload::journal::unchanged::{Compared, Unchanged};
use deskload::journal::writer::Commits;
use deskload::mapping::{Mapping, MappingSpec};
use deskload::ticket::{Changes, TicketId};
use tempfile::TempDir;

/// A journal, whichever engine keeps it.
pub(super) trait Engine: Sized {
    /// Who commits for the pipeline.
    type Worker: Commits;

    /// An empty journal; `None` where its engine is missing, which has been said.
    fn open() -> Option<Self>;

    fn archive(&mut self) -> &mut dyn Archive;

    /// Somebody who may send any row of the run.
    fn worker(&mut self, run: &Run) -> Self::Worker;

    /// That one has ended as it should.
    fn leave(&mut self, worker: Self::Worker);

    /// That one was killed, and whoever comes next has found what it left. Gives how many rows that were.
    fn found_after(&mut self, killed: Self::Worker, run: &Run) -> u64;
}

/// The desk of all of these.
pub(super) fn desk() -> DeskId {
    DeskId::new("https://desk.example/", "ops@example.com")
}

/// A journal with one run, and somebody at work on it.
pub(super) struct At<E: Engine> {
    pub(super) engine: E,
    pub(super) run: Run,
    worker: Option<E::Worker>,
}

/// The case's journal, or its end where the engine is missing.
macro_rules! opened {
    ($engine:ty, $text:expr) => {
        match At::<$engine>::new($text) {
            Some(at) => at,
            None => return,
        }
    };
}

/// Each case once for each of the two.
macro_rules! on_both {
    ($file:ty, $database:ty: $($case:ident),+ $(,)?) => {
        mod in_a_file {
            use super::*;
            $(#[test] fn $case() { super::$case::<$file>(); })+
        }
        mod in_a_database {
            use super::*;
            $(#[test] fn $case() { super::$case::<$database>(); })+
        }
    };
}
pub(super) use {on_both, opened};

impl<E: Engine> At<E> {
    /// With a run of these rows.
    pub(super) fn new(text: &str) -> Option<Self> {
        Some(Self::on(E::open()?, text))
    }

    /// The same, of a journal that is open.
    pub(super) fn on(mut engine: E, text: &str) -> Self {
        let run = take_in(&mut engine, text);
        let worker = Some(engine.worker(&run));
        Self { engine, run, worker }
    }

    /// One more run, on which the work goes on.
    pub(super) fn next_run(&mut self, text: &str) -> Run {
        self.engine.leave(self.worker.take().unwrap());
        let run = take_in(&mut self.engine, text);
        self.run = run.clone();
        self.worker = Some(self.engine.worker(&run));
        run
    }

    /// Whoever works is killed, and another goes on. Gives how many rows were found on their way.
    pub(super) fn kill(&mut self) -> u64 {
        let found = self.engine.found_after(self.worker.take().unwrap(), &self.run);
        self.worker = Some(self.engine.worker(&self.run.clone()));
        found
    }

    pub(super) fn commit(&mut self, batch: &Batch) -> Vec<Permit> {
        self.worker.as_mut().unwrap().commit(self.run.key, batch).unwrap().permits
    }

    /// Permits for these rows, each of them asked for with how often it was tried before.
    pub(super) fn grant(&mut self, rows: &[(u64, u32)]) -> Vec<Permit> {
        let wanted: Vec<Intent> =
            rows.iter().map(|(row, attempts)| Intent { attempts: *attempts, ..intent(*row) }).collect();
        let cursor = rows.iter().map(|(row, _)| row + 1).max().unwrap_or_default();
        let permits = self.commit(&Batch { wanted, cursor, ..Batch::default() });
        assert_eq!(permits.len(), rows.len(), "each has got its permit");
        permits
    }

    /// First attempts at these rows, which end so.
    pub(super) fn end(&mut self, rows: &[u64], ending: &Ending) {
        let rows: Vec<(u64, u32)> = rows.iter().map(|row| (*row, 0)).collect();
        self.end_again(&rows, ending);
    }

    /// Attempts at these rows, which end so.
    pub(super) fn end_again(&mut self, rows: &[(u64, u32)], ending: &Ending) {
        let permits = self.grant(rows);
        let outcomes = permits.into_iter().map(|permit| permit.send().settle(ending.clone(), Duration::ZERO));
        self.commit(&Batch { outcomes: outcomes.collect(), ..Batch::default() });
    }

    /// These rows wait.
    pub(super) fn set_aside(&mut self, rows: Vec<Intent>) {
        let set_aside = rows;
        self.commit(&Batch { set_aside, cursor: 4, ..Batch::default() });
    }

    /// How rows stand that are not applied or skipped: number, state, attempts, reason, status.
    pub(super) fn told(&mut self) -> Vec<(u64, State, u32, String, Option<u16>)> {
        let states = [State::Sending, State::Pending, State::Failed, State::Invalid, State::InDoubt];
        let (key, rows) = (self.run.key, self.run.counts.rows);
        let told = self.engine.archive().told_page(key, &states, 0, rows).unwrap();
        // A row that nobody has ever asked for has no entry in a file, and one in a database.
        let asked = told.into_iter().filter(|told| told.state != State::Pending || told.attempts > 0);
        asked.map(|told| (told.row, told.state, told.attempts, told.reason, told.http_status)).collect()
    }

    /// The run as the journal has it now.
    pub(super) fn now(&mut self) -> Run {
        let id = self.run.key.id;
        self.engine.archive().run(id).unwrap().unwrap()
    }

    /// Applied, failed, invalid, in doubt, skipped, pending, which add up.
    pub(super) fn counts(&mut self) -> [u64; 6] {
        let Counts { rows, applied, failed, invalid, in_doubt, skipped, pending } = self.now().counts;
        let counts = [applied, failed, invalid, in_doubt, skipped, pending];
        assert_eq!(counts.iter().sum::<u64>(), rows);
        counts
    }
}

/// Takes a CSV in as a run, the way `run` does.
pub(super) fn take_in(engine: &mut impl Engine, text: &str) -> Run {
    Input::new(text).begin(engine, None)
}

/// A CSV that is about to be taken in.
pub(super) struct Input {
    taken: Taken,
    layout: Layout,
    mapping: MappingSpec,
    _folder: TempDir,
}

impl Input {
    pub(super) fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let taken = spool::take(&mut text.as_bytes(), folder.path()).unwrap();
        let layout = Layout { format: Format::Csv, delimiter: b',', bom: false };
        Self { taken, layout, mapping: MappingSpec::default(), _folder: folder }
    }

    /// Reads it for the first time.
    pub(super) fn read(
        &self,
        engine: &mut impl Engine,
        compared: Option<&Compared<'_>>,
    ) -> (Survey, Option<Unchanged>) {
        let mut records = Records::open(self.taken.file.path(), &self.layout).unwrap();
        let mapping = Mapping::resolve(&self.mapping, records.header()).unwrap();
        let mut read = |on_row: &mut OnRow<'_>| survey(&mut records, &mapping, false, on_row);
        engine.archive().first_pass(compared, &mut read).unwrap()
    }

    /// The last run of it so far.
    fn newest(&self, engine: &mut impl Engine) -> Option<u64> {
        let runs = engine.archive().runs_of_input(&desk(), &self.taken.sha256).unwrap();
        runs.last().map(|run| run.key.id)
    }

    /// Makes a run of what was found; `newest`: the last run of it that was known by then.
    pub(super) fn open(
        self,
        engine: &mut impl Engine,
        (survey, unchanged): &(Survey, Option<Unchanged>),
        newest: Option<u64>,
    ) -> Result<Run, Error> {
        let input = InputId { sha256: self.taken.sha256.clone(), bytes: self.taken.bytes, path: None };
        let new = NewRun {
            desk: &desk(),
            input: &input,
            layout: &self.layout,
            mapping: &self.mapping,
            survey,
            unchanged: unchanged.as_ref(),
            now_ms: 0,
        };
        engine.archive().begin_run(&new, self.taken, newest)
    }

    fn begin(self, engine: &mut impl Engine, compared: Option<&Compared<'_>>) -> Run {
        let found = self.read(engine, compared);
        let newest = self.newest(engine);
        self.open(engine, &found, newest).unwrap()
    }
}

/// So many rows, each of another ticket, each with a name of its own.
pub(super) fn csv(rows: u64) -> String {
    (1..=rows).fold("ticket_id,staff\n".to_owned(), |text, row| format!("{text}{row},ST{row}\n"))
}

/// What the row of [`csv`] with this number asks for.
pub(super) fn intent(row: u64) -> Intent {
    asking(row, row, &format!("ST{row}"))
}

/// A row that gives a ticket to somebody.
pub(super) fn asking(row: u64, ticket: u64, staff: &str) -> Intent {
    let changes = Changes { staff: Some(staff.to_owned()), ..Changes::default() };
    Intent {
        row,
        ticket: TicketId::parse(&ticket.to_string()).unwrap(),
        fingerprint: Fingerprint::of(&changes, &FieldBits::default()).unwrap(),
        attempts: 0,
        resend: false,
    }
}

pub(super) fn note(reason: Reason, http_status: Option<u16>) -> Note {
    Note { reason, message: format!("because of {reason}"), http_status }
}

pub(super) fn in_doubt() -> Ending {
    Ending::InDoubt(note(Reason::Timeout, None))
}
