//! One seed: inputs taken in, sessions that crash or end, a person's word now and then, until nothing is left.
//!
//! A session is what `run` and `resume` do between taking the account and writing reports, with the same parts;
//! only the desk, the disk and the clock are scripted.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use deskload::breaker::Breaker;
use deskload::commands::drive::waiting_for_a_word;
use deskload::error::{Error, Signal};
use deskload::input::{Format, Layout, Records, spool, survey};
use deskload::journal::Journal;
use deskload::journal::invocations::{self, Beginning};
use deskload::journal::runs::{DeskId, InputId, NewRun};
use deskload::journal::settle::Word;
use deskload::journal::state::State;
use deskload::journal::unchanged::Recent;
use deskload::mapping::{Mapping, MappingSpec};
use deskload::pace::Pace;
use deskload::pace::uptime::Uptime;
use deskload::pipeline::{Driven, Parts, Pipeline};
use deskload::progress::Progress;
use deskload::shutdown::Shutdown;
use deskload::spooled::{self, Spooled};
use deskload::todo::{Source, Todo};
use deskload::until::{Bounds, Until};
use fastrand::Rng;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::desk::ScriptedDesk;
use crate::disk::Commits;
use crate::end::End;
use crate::input::{self, Line};
use crate::invariants::{self, Disk, state_after};
use crate::plan::Plan;
use crate::tally::Tally;
use crate::world::World;

/// Simulated time that no session takes.
const SESSION_MAX: Duration = Duration::from_hours(48);

/// Once the desk is well, each run needs at most: one session for what is pending, a person's word, one more;
/// and once more for what waited for another run.
const LAST_ROUNDS: usize = 4;

/// Whether the journal keeps its intents over a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Intents {
    Kept,
    /// The control: a crash forgets them, and updates must be found to be repeated.
    Forgotten,
}

/// How a life ended.
#[derive(Debug)]
pub(crate) struct Lived {
    pub(crate) breach: Option<String>,
    /// Of everything that happened.
    pub(crate) hash: u64,
    pub(crate) tally: Tally,
}

/// Lives one seed through. `folder` must be empty, and is left with the journal in it.
pub(crate) fn live(seed: u64, intents: Intents, verbose: bool, folder: &Path) -> Lived {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut life = Life::begin(seed, intents, verbose, folder);
        if let Err(error) = life.live().await {
            life.world.borrow_mut().breach(format!("a session could not begin or end: {error}"));
        }
        let world = life.world.borrow();
        Lived { breach: world.breach.clone(), hash: world.hash(), tally: world.tally.clone() }
    })
}

struct Life {
    rng: Rng,
    plan: Rc<Plan>,
    world: Rc<RefCell<World>>,
    desk_id: DeskId,
    path: PathBuf,
    disk: Rc<Disk>,
    intents: Intents,
    crashes_left: u32,
    /// Which start of the machine it is, and when that was.
    boot: (u128, Instant),
    inputs: Vec<Vec<Line>>,
}

impl Life {
    fn begin(seed: u64, intents: Intents, verbose: bool, folder: &Path) -> Self {
        let mut rng = Rng::with_seed(seed);
        let plan = Plan::draw(&mut rng);
        let mut world = World::new(rng.fork(), verbose, intents == Intents::Forgotten);
        world.note(format_args!("{plan:?}"));
        let path = folder.join("journal.sqlite3");
        // Made by the journal first; the other connection stays open over crashes, so that closing never tidies up.
        drop(Journal::open(&path).unwrap());
        let disk = Rc::new(Disk::open(&path));
        Self {
            crashes_left: plan.crashes,
            boot: (0, Instant::now()),
            rng,
            plan: Rc::new(plan),
            world: Rc::new(RefCell::new(world)),
            desk_id: DeskId::new("https://desk.example/", "ops@example.com"),
            path,
            disk,
            intents,
            inputs: Vec::new(),
        }
    }

    fn is_over(&self) -> bool {
        self.world.borrow().breach.is_some()
    }

    async fn live(&mut self) -> Result<(), Error> {
        self.take_in()?;
        for session in 0..self.plan.sessions {
            if session > 0 && self.inputs.len() < self.plan.inputs {
                self.take_in()?;
            }
            let run = self.rng.usize(..self.inputs.len());
            self.session(run).await?;
            if self.is_over() {
                return Ok(());
            }
            if self.rng.u8(..3) == 0 {
                let run = self.rng.usize(..self.inputs.len());
                self.resolve(run, false)?;
            }
            sleep(Duration::from_millis(1 << self.rng.u32(..22))).await;
        }
        // No pause that the desk has announced lasts longer; a process that begins in it ends at once.
        sleep(Duration::from_mins(30)).await;
        self.world.borrow_mut().healthy = true;
        for _ in 0..LAST_ROUNDS {
            if self.open_row().is_none() {
                break;
            }
            for run in 0..self.inputs.len() {
                self.session(run).await?;
                self.resolve(run, true)?;
            }
        }
        // Whatever is still under way to the desk arrives, and must not be a surprise.
        sleep(self.plan.timeout + Duration::from_secs(61)).await;
        self.world.borrow_mut().arrive();
        if let Some(row) = self.open_row() {
            self.world.borrow_mut().breach(format!("8: it does not come to an end: {row}"));
        }
        invariants::check_tickets(&mut self.world.borrow_mut());
        Ok(())
    }

    /// A row that is neither settled nor invalid.
    fn open_row(&self) -> Option<String> {
        let world = self.world.borrow();
        let mut rows = world.runs.iter().flatten();
        let open = [None, Some(State::Pending), Some(State::Sending), Some(State::InDoubt)];
        rows.find(|row| open.contains(&row.on_disk)).map(|row| format!("{row:?}"))
    }

    /// Takes an input in, as `run` does.
    fn take_in(&mut self) -> Result<(), Error> {
        let before: Vec<Line> = self.inputs.iter().flatten().cloned().collect();
        let alike = if self.plan.only_changed { 200 } else { 80 };
        let (text, lines) = input::draw(&mut self.rng, &before, alike);
        let mut journal = Journal::open(&self.path)?;
        let folder = spooled::make_folder(&journal)?;
        let taken = spool::take(&mut text.as_bytes(), &folder)?;
        let layout = Layout { format: Format::Csv, delimiter: b',', bom: taken.nature.bom };
        let mapping_spec = MappingSpec::default();
        let mut records = Records::open(taken.file.path(), &layout)?;
        let mapping = Mapping::resolve(&mapping_spec, records.header())?;
        journal.begin_first_pass()?;
        let compares = !before.is_empty() && self.plan.only_changed;
        let mut asked = compares.then(|| journal.begin_comparing()).transpose()?;
        let survey = survey(&mut records, &mapping, false, &mut |seen| {
            if let Some(asked) = &mut asked {
                journal.note_asked(asked, seen)?;
            }
            journal.note(seen)
        })?;
        let compare = |asked| journal.unchanged(&asked, &self.desk_id, survey.rows, Recent::ANY, &|| Ok(()));
        let unchanged = asked.map(compare).transpose()?;
        let input = InputId { sha256: taken.sha256, bytes: taken.bytes, path: None };
        let desk = &self.desk_id;
        let new = NewRun {
            desk,
            input: &input,
            layout: &layout,
            mapping: &mapping_spec,
            survey: &survey,
            unchanged: unchanged.as_ref(),
            now_ms: 0,
        };
        let run = journal.open_run(&new, |name| spooled::keep(&folder, taken.file, name))?;
        Rc::get_mut(&mut self.disk).expect("no session is under way").runs.push(run.key);
        let mut world = self.world.borrow_mut();
        world.note(format_args!("input of {} rows, {} invalid", survey.rows, survey.invalid));
        world.add_run(lines.clone(), unchanged.as_ref());
        self.inputs.push(lines);
        self.disk.check(&mut world, self.inputs.len() - 1, &self.plan);
        Ok(())
    }

    /// One process: takes the journal, recovers it, drives the run until it ends, stops or dies.
    async fn session(&mut self, run: usize) -> Result<(), Error> {
        self.world.borrow_mut().arrive();
        if self.intents == Intents::Forgotten {
            self.disk.forget_intents();
        }
        let mut journal = Journal::open(&self.path)?;
        self.recover(&mut journal)?;
        let key = self.disk.runs[run];
        let stored = journal.run(key.id)?.expect("the run is there");
        journal.begin_invocation(key, &Beginning::default())?;
        let (remembered, uptime) = (journal.remembered(&self.desk_id)?, self.uptime());
        let (lanes, doubts) = waiting_for_a_word(&journal, &stored, false)?;
        let Some(spooled) = Spooled::open(&journal, &stored)? else { return Ok(()) };
        let mapping = Mapping::resolve(&stored.mapping, spooled.header())?;
        let todo = Todo::new(journal.open_again()?, &stored, spooled, mapping, false)?;
        let healthy = self.world.borrow().healthy;
        let end = if healthy { End::of_its_own() } else { End::draw(&mut self.rng, self.crashes_left) };
        self.world.borrow_mut().begin_session(run, &self.plan, end.dies_in, remembered.slowed_to);
        let journal = Rc::new(RefCell::new(journal));
        let shutdown = Shutdown::default();
        let desk = ScriptedDesk { world: self.world.clone(), plan: self.plan.clone() };
        let commits = Commits {
            world: self.world.clone(),
            plan: self.plan.clone(),
            disk: self.disk.clone(),
            journal: journal.clone(),
            run: key,
        };
        let parts = Parts {
            desk: &desk,
            source: Source::Inline(Box::new(todo)),
            writer: commits.writer(),
            lanes,
            pace: Pace::new(&self.plan.rates, self.plan.burst)?.remembering(&remembered, uptime),
            breaker: Breaker::new(self.plan.limits, self.rng.fork(), 0),
            doubts,
            concurrency: self.plan.concurrency,
            marked_max: 2 * self.plan.concurrency,
            counts: stored.counts,
            progress: Progress::None,
            until: Until::new(Bounds::default(), || jiff::Timestamp::UNIX_EPOCH),
            shutdown: shutdown.clone(),
        };
        let driven = self.drive(parts, &end, &shutdown).await;
        let journal = Rc::into_inner(journal);
        let Some(driven) = driven else {
            self.world.borrow_mut().crash();
            self.crashes_left = self.crashes_left.saturating_sub(1);
            return Ok(());
        };
        drop(driven.writer);
        self.end(journal, driven.ended.stopped.as_ref(), driven.ended.resting, run)
    }

    /// The machine's own clock; now and then it has been started again.
    fn uptime(&mut self) -> Uptime {
        if !self.world.borrow().healthy && self.rng.u8(..4) == 0 {
            // What was on its way has been sent before, so that the start takes a moment.
            self.boot = (self.boot.0 + 1, Instant::now());
        }
        let (boot, began) = self.boot;
        Uptime::new(Uuid::from_u128(boot), move || began.elapsed())
    }

    /// `None`: the process died.
    async fn drive(&self, parts: Parts<'_, ScriptedDesk>, end: &End, shutdown: &Shutdown) -> Option<Driven> {
        let bell = self.world.borrow().bell.clone();
        let dies = async {
            match end.dies_after {
                Some(after) => sleep(after).await,
                None => std::future::pending().await,
            }
        };
        let asks = async {
            if let Some(after) = end.asked_after {
                sleep(after).await;
                shutdown.ask(Signal::Interrupt);
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            () = bell.notified() => None,
            () = dies => None,
            () = asks => None,
            () = sleep(SESSION_MAX) => {
                self.world.borrow_mut().breach("8: a session does not end".to_owned());
                None
            }
            driven = Pipeline::new(parts).run() => Some(driven),
        }
    }

    fn recover(&mut self, journal: &mut Journal) -> Result<(), Error> {
        let found = journal.recover(&self.desk_id)?;
        let mut world = self.world.borrow_mut();
        world.note(format_args!("recovered {found}"));
        world.tally.recovered += found;
        if found > 2 * self.plan.concurrency as u64 {
            world.breach(format!("5: {found} rows are in doubt after a crash"));
        }
        if self.rng.bool() && journal.recover(&self.desk_id)? != 0 {
            world.breach("recovering twice finds more".to_owned());
        }
        for run in 0..self.disk.runs.len() {
            self.disk.check(&mut world, run, &self.plan);
            if world.runs[run].iter().any(|row| row.on_disk == Some(State::Sending)) {
                world.breach("5: recovery leaves rows that are marked as sending".to_owned());
            }
        }
        Ok(())
    }

    /// What `run` does once the sending has ended.
    fn end(
        &mut self,
        journal: Option<RefCell<Journal>>,
        stopped: Option<&Error>,
        resting: u64,
        run: usize,
    ) -> Result<(), Error> {
        let mut journal = match journal {
            Some(journal) => journal.into_inner(),
            None => Journal::open(&self.path)?,
        };
        {
            let mut world = self.world.borrow_mut();
            world.arrive();
            let why = stopped.map(Error::exit_code);
            world.note(format_args!("ended stopped={why:?} resting={resting}"));
            self.disk.check(&mut world, run, &self.plan);
            let is_sending = world.runs[run].iter().any(|row| row.on_disk == Some(State::Sending));
            match stopped {
                Some(Error::Machine(_)) => {}
                _ if is_sending => world.breach("8: it ended before all was drained".to_owned()),
                Some(_) => {}
                None => invariants::check_end(&mut world, resting),
            }
        }
        if matches!(stopped, Some(Error::Machine(_))) && self.intents == Intents::Kept {
            self.recover(&mut journal)?;
        }
        let key = self.disk.runs[run];
        journal.end_invocation(key, &invocations::End::default())?;
        let stored = journal.run(key.id)?.expect("the run is there");
        spooled::cut_down(&mut journal, &stored)
    }

    /// A person settles rows in doubt, some or all of them.
    fn resolve(&mut self, run: usize, all: bool) -> Result<(), Error> {
        let mut journal = Journal::open(&self.path)?;
        self.world.borrow_mut().arrive();
        self.recover(&mut journal)?;
        let mut world = self.world.borrow_mut();
        let in_doubt: Vec<usize> = (0..world.runs[run].len())
            .filter(|index| world.runs[run][*index].on_disk == Some(State::InDoubt))
            .filter(|_| all || self.rng.bool())
            .collect();
        let stored = journal.run(self.disk.runs[run].id)?.expect("the run is there");
        for index in in_doubt {
            let said = [Word::Applied, Word::Resend, Word::Skip][self.rng.usize(..3)];
            let number = index as u64 + 1;
            let settled = journal.resolve(&stored, said, Some(&[(number, number)]))?;
            world.said(run, index, said);
            // What waits for the row in another run may be settled with it.
            for other in 0..self.inputs.len() {
                self.disk.check(&mut world, other, &self.plan);
            }
            if settled.rows != 1 || world.runs[run][index].on_disk != Some(state_after(said)) {
                world.breach(format!("a word on row {number} did something else"));
            }
        }
        Ok(())
    }
}
