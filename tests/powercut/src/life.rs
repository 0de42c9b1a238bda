//! A life that is taped: sessions of the production journal, driven by a seed.
//!
//! A session is what `run` does between taking the account and giving it back: open, confirm, recover, sweep, take
//! an input in, commit batches of intents, outcomes and unused permits, settle by a person's word, cut the spool
//! down, close. Some sessions are killed: their journal is left as it is, and what was on its way is lost to them.
//! The desk answers in the same moment; what counts here is when its answers, and the intents before them, are on
//! disk.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use deskload::error::Error;
use deskload::input::{Format, Layout, Records, spool, survey};
use deskload::journal::Journal;
use deskload::journal::account::AccountLock;
use deskload::journal::invocations::{Beginning, End};
use deskload::journal::runs::{DeskId, InputId, NewRun, Run};
use deskload::journal::settle::Word;
use deskload::journal::state::State;
use deskload::mapping::{Mapping, MappingSpec};
use deskload::spooled;
use fastrand::Rng;

use crate::listen;
use crate::session::Session;
use crate::tape::{self, Image, JOURNAL, Tape};
use crate::truth::{Held, HeldRun, History, Place};

/// Rows that cannot become an update: every so many, on the average.
const INVALID_EVERY: u32 = 12;

/// How a life is lived: the controls do it wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// As deskload does.
    Careful,
    /// `synchronous=NORMAL` instead of FULL.
    Normal,
    /// Requests leave before their intents are committed.
    SendsFirst,
}

/// A desk and its account.
pub(crate) fn desk() -> DeskId {
    DeskId::new("https://desk.example/", "ops@example.com")
}

/// Where the account file lies in a life's folder.
pub(crate) fn state_folder(folder: &Path) -> PathBuf {
    folder.join("state")
}

/// The last start that the account file knows of; none without a record.
pub(crate) fn epoch(folder: &Path) -> u64 {
    let Ok(accounts) = fs::read_dir(state_folder(folder).join("accounts")) else { return 0 };
    let text: String = accounts.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    let digits = text.split("\"epoch\":").nth(1).unwrap_or_default();
    digits.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default().parse().unwrap_or_default()
}

/// A part of a life, ready to be cut off anywhere.
pub(crate) struct Lived {
    pub(crate) tape: Tape,
    pub(crate) history: History,
}

pub(crate) struct Life {
    pub(crate) rng: Rng,
    pub(crate) habit: Habit,
    pub(crate) concurrency: usize,
    /// Long enough for a checkpoint in the midst of sending.
    is_long: bool,
    /// So many commits a session.
    commits: usize,
    /// How long the desk's words may be: long ones fill the log.
    pub(crate) words_max: usize,
    folder: PathBuf,
    pub(crate) history: History,
}

impl Life {
    /// Lives two or three sessions in `folder`, which holds `start`, from where `history` has come to.
    pub(crate) fn live(
        mut rng: Rng,
        habit: Habit,
        concurrency: usize,
        folder: &Path,
        start: Image,
        history: History,
    ) -> Result<Lived, Error> {
        let is_long = concurrency >= 4 && rng.u8(..3) == 0;
        let mut life = Self {
            habit,
            concurrency,
            is_long,
            commits: if is_long { rng.usize(50..120) } else { rng.usize(4..24) },
            words_max: if is_long { 12_000 } else { 200 },
            folder: folder.to_owned(),
            history,
            rng,
        };
        tape::begin(folder, start);
        let sessions = 1 + life.rng.usize(..3);
        let lived = (0..sessions).try_for_each(|_| life.session());
        let tape = tape::end();
        lived.map(|()| Lived { tape, history: life.history })
    }

    /// A transaction of the journal that is to make `after` of the rows.
    pub(crate) fn transaction<T>(
        &mut self,
        after: Held,
        act: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let began = tape::position();
        let done = act()?;
        self.history.transaction(began, tape::position(), after);
        Ok(done)
    }

    fn unchanged<T>(&mut self, act: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        self.transaction(self.history.now().clone(), act)
    }

    fn session(&mut self) -> Result<(), Error> {
        let mut account = AccountLock::acquire(&state_folder(&self.folder), &desk())?;
        let mut journal = Journal::open(&self.folder.join(JOURNAL))?;
        if self.habit == Habit::Normal {
            listen::use_normal(&mut journal);
        }
        self.unchanged(|| account.confirm(&mut journal, &desk(), false).and_then(|()| account.bind()))?;
        self.history.started(tape::position(), epoch(&self.folder));
        let (recovered, found) = self.history.now().recovered();
        assert_eq!(self.transaction(recovered, || journal.recover(&desk()))?, found);
        spooled::sweep(&mut journal)?;
        if self.history.now().runs.is_empty() || self.rng.u8(..3) == 0 {
            self.take_in(&mut journal)?;
        }
        if self.rng.u8(..3) == 0 {
            self.settle_by_word(&mut journal)?;
        }
        let run = self.rng.usize(..self.history.now().runs.len());
        let run = journal.run(run as u64 + 1)?.expect("the run is there");
        if run.spool.is_some() { self.drive(journal, &run) } else { journal.close() }
    }

    fn drive(&mut self, mut journal: Journal, run: &Run) -> Result<(), Error> {
        self.unchanged(|| journal.begin_invocation(run.key, &Beginning::default()))?;
        // Production reads the rows that are left beside the connection that writes.
        let reader = journal.open_again()?;
        let mut session = Session::begin(self, &reader, run)?;
        for _ in 0..self.commits {
            session.step(self, &mut journal)?;
        }
        if self.rng.u8(..3) == 0 {
            drop(reader);
            // Without a checkpoint, as a run ends when the machine has failed.
            drop(journal);
            return Ok(());
        }
        session.drain(self, &mut journal)?;
        drop(reader);
        self.unchanged(|| journal.end_invocation(run.key, &End { ended_ms: 1, ..End::default() }))?;
        let run = journal.run(run.key.id)?.expect("the run is there");
        self.unchanged(|| spooled::cut_down(&mut journal, &run))?;
        journal.close()
    }

    /// As `run` takes a file in.
    fn take_in(&mut self, journal: &mut Journal) -> Result<(), Error> {
        let (text, rows) = self.input();
        let folder = spooled::make_folder(journal)?;
        let taken = spool::take(&mut text.as_bytes(), &folder)?;
        taken.sync()?;
        let layout = Layout { format: Format::Csv, delimiter: b',', bom: taken.nature.bom };
        let spec = MappingSpec::default();
        let mut records = Records::open(taken.file.path(), &layout)?;
        let mapping = Mapping::resolve(&spec, records.header())?;
        journal.begin_first_pass()?;
        let survey = survey(&mut records, &mapping, false, &mut |seen| journal.note(seen))?;
        let input = InputId { sha256: taken.sha256, bytes: taken.bytes, path: None };
        let desk = desk();
        let new = NewRun {
            desk: &desk,
            input: &input,
            layout: &layout,
            mapping: &spec,
            survey: &survey,
            unchanged: None,
            now_ms: 0,
        };
        let mut after = self.history.now().clone();
        after.runs.push(HeldRun { rows, attempts: 0 });
        self.transaction(after, || journal.open_run(&new, |name| spooled::keep(&folder, taken.file, name)))?;
        Ok(())
    }

    fn input(&mut self) -> (String, Vec<Option<State>>) {
        let mut text = "ticket_id,staff\n".to_owned();
        let mut rows = Vec::new();
        let rows_max = self.commits * self.concurrency;
        let rows_min = if self.is_long { rows_max / 2 } else { 1 };
        let count = self.rng.usize(rows_min..=rows_max);
        for row in 1..=count {
            let is_invalid = self.rng.u32(..INVALID_EVERY) == 0;
            rows.push(is_invalid.then_some(State::Invalid));
            let ticket = if is_invalid { "none".to_owned() } else { row.to_string() };
            writeln!(text, "{ticket},ST{row}").unwrap();
        }
        (text, rows)
    }

    /// A person settles rows in doubt of some run, or asks for its failed rows again.
    fn settle_by_word(&mut self, journal: &mut Journal) -> Result<(), Error> {
        let index = self.rng.usize(..self.history.now().runs.len());
        let run = journal.run(index as u64 + 1)?.expect("the run is there");
        if run.spool.is_none() {
            return Ok(());
        }
        let began = tape::position();
        if self.rng.bool() {
            let after = self.say(index, State::Failed, State::Pending, began);
            return self.transaction(after, || journal.retry(&run)).map(|_| ());
        }
        let (word, to) =
            [(Word::Applied, State::Applied), (Word::Resend, State::Pending), (Word::Skip, State::Skipped)]
                [self.rng.usize(..3)];
        let after = self.say(index, State::InDoubt, to, began);
        self.transaction(after, || journal.resolve(&run, word, None)).map(|_| ())
    }

    /// All rows of a run that are `from` become `to`.
    fn say(&mut self, run: usize, from: State, to: State, began: usize) -> Held {
        let mut after = self.history.now().clone();
        for (row, state) in after.runs[run].rows.iter_mut().enumerate() {
            if *state == Some(from) {
                *state = Some(to);
                let place: Place = (run, row);
                match to {
                    State::Applied => self.history.say_applied(place, began),
                    _ => self.history.clear(place, began),
                }
            }
        }
        after
    }
}
