//! A week of nights under one clock: seven inputs, a crash, an outage of the desk, a lockout of the account, a night on
//! which nothing changed, and an export that came out empty.
//!
//! Each night there are three starts, as a job has that goes on until it is done: what an older night has left first,
//! then the night's own file. The pipeline, verdicts, pace, journal and exit codes are the program's own; the desk's log
//! and its tickets are the judge.

mod office;
mod story;

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::time::Duration;

use deskload::breaker::{Breaker, Limits, MaxFailures};
use deskload::commands::drive::waiting_for_a_word;
use deskload::commands::ending;
use deskload::error::{EXIT_DONE, Error};
use deskload::input::{Format, Layout, Records, spool, survey};
use deskload::journal::Journal;
use deskload::journal::invocations::{Beginning, End};
use deskload::journal::runs::{DeskId, InputId, NewRun, Run};
use deskload::journal::settle::Word;
use deskload::journal::state::State;
use deskload::journal::unchanged::Recent;
use deskload::journal::writer::Writer;
use deskload::mapping::{Mapping, MappingSpec};
use deskload::pace::uptime::Uptime;
use deskload::pace::{Pace, Rate};
use deskload::pipeline::{Parts, Pipeline};
use deskload::progress::Progress;
use deskload::report::summary;
use deskload::settings::Guards;
use deskload::shutdown::Shutdown;
use deskload::spooled::{self, Spooled};
use deskload::todo::{Source, Todo};
use deskload::until::{Bounds, Until, Window};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use office::{Office, OfficeDesk};

/// A Monday.
const MONDAY: &str = "2026-03-02T00:00:00Z";
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

const CONCURRENCY: usize = 4;
/// By the second with a burst of two on top, and by the windows without.
const RATES: &str = "1/s,10/min,400/h";

thread_local! {
    /// When the week's clock was at zero: `Until` takes a plain function.
    static ZERO: Cell<Option<Instant>> = const { Cell::new(None) };
}

fn since_monday() -> Duration {
    ZERO.get().map(|zero| zero.elapsed()).unwrap_or_default()
}

/// The clock on the wall, which follows the simulated one.
fn wall() -> Timestamp {
    MONDAY.parse::<Timestamp>().unwrap() + SignedDuration::try_from(since_monday()).unwrap()
}

/// On which day of the week, at which time.
const fn at(day: u32, time: Duration) -> Duration {
    Duration::from_secs(day as u64 * DAY.as_secs() + time.as_secs())
}

const fn clock(hour: u64, minute: u64) -> Duration {
    Duration::from_secs(hour * 3_600 + minute * 60)
}

/// What the end of an invocation said.
#[derive(Debug)]
struct Told {
    /// `Tue 22:00`
    when: String,
    /// `None`: no run came of it.
    run: Option<u64>,
    exit_code: u8,
    /// As `summary.json` has it.
    summary: Value,
}

impl Told {
    /// Applied, in doubt, skipped, pending.
    fn counts(&self) -> [u64; 4] {
        ["applied", "in_doubt", "skipped", "pending"]
            .map(|name| self.summary["counts"][name].as_u64().unwrap())
    }
}

struct Week {
    office: RefCell<Office>,
    journal: PathBuf,
    desk_id: DeskId,
    boot: Uuid,
    told: Vec<Told>,
    /// How many rows in doubt each morning's look has settled.
    settled_by_day: Vec<u64>,
}

/// One night's file, and how its command is given.
struct Night {
    rows: Vec<(u64, String)>,
    only_changed: bool,
    guards: Guards,
    /// The first process of the night is killed at its so-manieth request.
    dies_in: Option<u32>,
}

impl Night {
    fn new(rows: Vec<(u64, String)>) -> Self {
        Self { rows, only_changed: false, guards: Guards::default(), dies_in: None }
    }

    fn text(&self) -> String {
        let rows = self.rows.iter().map(|(ticket, staff)| format!("{ticket},{staff}\n"));
        std::iter::once("ticket_id,staff\n".to_owned()).chain(rows).collect()
    }
}

impl Week {
    fn open(&self) -> Result<Journal, Error> {
        let mut journal = Journal::open(&self.journal)?;
        journal.recover(&self.desk_id)?;
        Ok(journal)
    }

    fn bounds() -> Bounds {
        let window = (Window::parse("22:00-06:00").unwrap(), jiff::tz::TimeZone::UTC);
        Bounds { window: Some(window), ..Bounds::default() }
    }

    fn limits() -> Limits {
        Limits {
            retries: 5,
            resends: false,
            patience: 10 * MINUTE,
            max_wait: 15 * MINUTE,
            max_failures: MaxFailures::Percent(25.0),
        }
    }

    fn tell(&mut self, run: Option<u64>, exit_code: u8, summary: Value) {
        let when = wall().strftime("%a %H:%M").to_string();
        self.told.push(Told { when, run, exit_code, summary });
    }

    /// One start of a night: goes on with what is unfinished, then with the night's own file.
    async fn start(&mut self, night: &Night) -> Result<(), Error> {
        Self::bounds().check(wall())?;
        let journal = self.open()?;
        let open: Vec<Run> = journal.runs()?.into_iter().filter(|run| !run.is_finished()).collect();
        drop(journal);
        for run in open {
            self.drive(run.key.id).await?;
        }
        if let Some(run) = self.take_in(night)? {
            self.drive(run).await?;
        }
        Ok(())
    }

    /// As `run` decides of a file. `None`: nothing is left of it, or it must not be sent.
    fn take_in(&mut self, night: &Night) -> Result<Option<u64>, Error> {
        let mut journal = self.open()?;
        let folder = spooled::make_folder(&journal)?;
        let taken = spool::take(&mut night.text().as_bytes(), &folder)?;
        // Unfinished ones have been gone on with already.
        if !journal.runs_of_input(&self.desk_id, &taken.sha256)?.is_empty() {
            return Ok(None);
        }
        let layout = Layout { format: Format::Csv, delimiter: b',', bom: false };
        let spec = MappingSpec::default();
        let mut records = Records::open(taken.file.path(), &layout)?;
        let mapping = Mapping::resolve(&spec, records.header())?;
        journal.begin_first_pass()?;
        let mut asked = night.only_changed.then(|| journal.begin_comparing()).transpose()?;
        let survey = survey(&mut records, &mapping, false, &mut |seen| {
            if let Some(asked) = &mut asked {
                journal.note_asked(asked, seen)?;
            }
            journal.note(seen)
        })?;
        let unchanged =
            asked.map(|asked| journal.unchanged(&asked, &self.desk_id, survey.rows, Recent::ANY, &|| Ok(())));
        let unchanged = unchanged.transpose()?;
        if let Err(error) = night.guards.check(survey.rows, survey.rows) {
            self.tell(None, error.exit_code(), Value::Null);
            return Ok(None);
        }
        let input =
            InputId { sha256: taken.sha256, bytes: taken.bytes, path: Some("nightly.csv".to_owned()) };
        let new = NewRun {
            desk: &self.desk_id,
            input: &input,
            layout: &layout,
            mapping: &spec,
            survey: &survey,
            unchanged: unchanged.as_ref(),
            now_ms: wall().as_millisecond(),
        };
        let run = journal.open_run(&new, |name| spooled::keep(&folder, taken.file, name))?;
        Ok(Some(run.key.id))
    }

    /// Sends what is left of a run, and tells how it stands; a process that is killed tells nothing.
    async fn drive(&mut self, id: u64) -> Result<(), Error> {
        let mut journal = self.open()?;
        let run = journal.run(id)?.unwrap();
        let now_ms = wall().as_millisecond();
        journal.begin_invocation(run.key, &Beginning { now_ms, again: "deskload run", pace: RATES })?;
        let before = journal.remembered(&self.desk_id)?;
        let (lanes, doubts) = waiting_for_a_word(&journal, &run, false)?;
        let spooled = Spooled::open(&journal, &run)?.unwrap();
        let mapping = Mapping::resolve(&run.mapping, spooled.header())?;
        let todo = Todo::new(journal.open_again()?, &run, spooled, mapping, false)?;
        self.office.borrow_mut().run = id;
        let desk = OfficeDesk(&self.office);
        let uptime = Uptime::new(self.boot, since_monday);
        let parts = Parts {
            desk: &desk,
            source: Source::Inline(Box::new(todo)),
            writer: Writer::Inline(Box::new(journal), run.key),
            lanes,
            pace: Pace::new(&Rate::parse_all(RATES).unwrap(), None)?.remembering(&before, uptime),
            breaker: Breaker::new(Self::limits(), fastrand::Rng::with_seed(id), 0),
            doubts,
            concurrency: CONCURRENCY,
            marked_max: 2 * CONCURRENCY,
            counts: run.counts,
            progress: Progress::None,
            until: Until::new(Self::bounds(), wall),
            shutdown: Shutdown::default(),
        };
        let killed = self.office.borrow().killed.clone();
        let driven = tokio::select! {
            biased;
            () = killed.notified() => return Ok(()),
            driven = Pipeline::new(parts).run() => driven,
        };
        let mut journal = driven.writer.close()?;
        let run = journal.run(id)?.unwrap();
        let end = ending::ending(&run, driven.ended);
        let exit_code = end.as_ref().map_or(EXIT_DONE, Error::exit_code);
        let said = end.as_ref().map(ToString::to_string);
        let ended_ms = wall().as_millisecond();
        journal
            .end_invocation(run.key, &End { now_ms: ended_ms, ended_ms, exit_code, said: said.as_deref() })?;
        let run = journal.run(id)?.unwrap();
        spooled::cut_down(&mut journal, &run)?;
        let reasons = summary::reasons(&journal, &run)?;
        let summary = serde_json::to_value(summary::of(&journal, &run, &reasons)?).unwrap();
        self.tell(Some(id), exit_code, summary);
        Ok(())
    }

    /// In the morning somebody looks up at the desk what is in doubt, and says what is true.
    fn look_in_the_morning(&self) -> Result<u64, Error> {
        let mut journal = self.open()?;
        let mut settled = 0;
        for run in journal.runs()? {
            for told in journal.told_page(run.key, &[State::InDoubt], 0, run.counts.rows)? {
                let has = self.office.borrow().applied.contains(&(run.key.id, told.row));
                let word = if has { Word::Applied } else { Word::Resend };
                settled += journal.resolve(&run, word, Some(&[(told.row, told.row)]))?.rows;
            }
        }
        Ok(settled)
    }

    /// The last word on a run.
    fn last_of(&self, run: u64) -> &Told {
        self.told.iter().rfind(|told| told.run == Some(run)).unwrap()
    }
}

/// Tickets `from..to`, assigned in turns; `shift` makes another night of it.
fn rows(from: u64, to: u64, shift: u64) -> Vec<(u64, String)> {
    (from..to).map(|ticket| (ticket, format!("ST{}", (ticket + shift) % 7))).collect()
}

fn seven_nights() -> [Night; 7] {
    let expects = Guards { expect_rows: Some("100..5000".parse().unwrap()), ..Guards::default() };
    let thursday = rows(1, 2_701, 3);
    let mut sunday = thursday.clone();
    for (ticket, staff) in sunday.iter_mut().filter(|(ticket, _)| ticket % 10 == 0) {
        *staff = format!("ST9{ticket}");
    }
    let mut friday = thursday.clone();
    friday.reverse();
    [
        Night::new(rows(1, 301, 0)),
        Night { dies_in: Some(120), ..Night::new(rows(100, 400, 1)) },
        Night::new(rows(1, 301, 2)),
        Night::new(thursday),
        Night { only_changed: true, ..Night::new(friday) },
        Night { only_changed: true, guards: expects, ..Night::new(Vec::new()) },
        Night { only_changed: true, guards: expects, ..Night::new(sunday) },
    ]
}

async fn live(week: &mut Week, nights: &[Night; 7]) -> Result<(), Error> {
    let zero = Instant::now();
    ZERO.set(Some(zero));
    for (day, night) in (0..).zip(nights) {
        // The clock on the wall may have gone on since: a start that comes late is one that was waited for.
        week.office.borrow_mut().dies_in = night.dies_in;
        for start in [clock(22, 0), clock(23, 0), clock(25, 0)] {
            sleep_until(zero + at(day, start)).await;
            week.start(night).await?;
        }
        sleep_until(zero + at(day, clock(33, 0))).await;
        let settled = week.look_in_the_morning()?;
        week.settled_by_day.push(settled);
    }
    Ok(())
}

#[test]
fn a_week_of_nights() {
    let folder = tempfile::tempdir().unwrap();
    let mut week = Week {
        office: RefCell::default(),
        journal: folder.path().join("journal.sqlite3"),
        desk_id: DeskId::new("https://desk.example/", "ops@example.com"),
        boot: Uuid::from_u128(1),
        told: Vec::new(),
        settled_by_day: Vec::new(),
    };
    let nights = seven_nights();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(live(&mut week, &nights)).unwrap();
    story::the_desk_is_as_the_files_ask_for(&week, &nights);
    story::no_limit_was_passed(&week);
    story::the_summaries_tell_the_story(&week);
}
