//! deskload's sending alone, through the library: taken in before the clock starts, reported by nobody.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use deskload::breaker::{Breaker, Limits, MaxFailures};
use deskload::desk::proprofs::{Connection, ProProfs};
use deskload::desk::verdict::Rules;
use deskload::input::{Layout, Records, spool, survey};
use deskload::journal::Journal;
use deskload::journal::runs::{DeskId, InputId, NewRun, Run};
use deskload::journal::writer::Writer;
use deskload::lanes::Lanes;
use deskload::mapping::{Mapping, MappingSpec};
use deskload::pace::Pace;
use deskload::pipeline::{Parts, Pipeline};
use deskload::progress::Progress;
use deskload::secret::Token;
use deskload::shutdown::Shutdown;
use deskload::spooled::{self, Spooled};
use deskload::todo::{Source, Todo};
use deskload::until::{Bounds, Until};

use crate::clients::Ran;
use crate::machine::own_cpu;
use crate::rows::{ACCOUNT_EMAIL, TOKEN};
use crate::{Result, clients};

/// What is sent, where, and within which bounds.
pub(crate) struct Order<'a> {
    /// A folder that is not there yet.
    pub(crate) place: &'a Path,
    pub(crate) input: &'a Path,
    pub(crate) url: &'a str,
    pub(crate) concurrency: usize,
    /// Rows marked as sending at once, at most.
    pub(crate) marked_max: usize,
}

impl Order<'_> {
    /// The same in a process of its own.
    pub(crate) fn start(&self) -> Result<Ran> {
        let path = |path: &Path| path.to_str().map(str::to_owned).ok_or("a path that is not UTF-8");
        let (input, place) = (path(self.input)?, path(self.place)?);
        let (concurrency, marked_max) = (self.concurrency.to_string(), self.marked_max.to_string());
        clients::start(&["sending", self.url, &input, &place, &concurrency, &marked_max])
    }
}

/// Takes the input in, sends it, and tells what the sending cost.
pub(crate) fn drive(order: &Order<'_>) -> Result<Ran> {
    fs::create_dir(order.place)?;
    let mut journal = Journal::open(&order.place.join("journal.sqlite3"))?;
    let run = take_in(&mut journal, order)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _context = runtime.enter();
    let desk = desk(order)?;
    let parts = parts(journal, &run, &desk, order)?;
    let (began, cpu) = (Instant::now(), own_cpu()?);
    let driven = runtime.block_on(Pipeline::new(parts).run());
    let ran = Ran { seconds: began.elapsed().as_secs_f64(), cpu: own_cpu()?.since(cpu) };
    let journal = driven.writer.close()?;
    let run = journal.run(run.key.id)?.ok_or("no run")?;
    if run.counts.applied != run.counts.rows || run.attempts != run.counts.rows {
        return Err(format!("{:?}, {} attempts", run.counts, run.attempts).into());
    }
    Ok(ran)
}

fn take_in(journal: &mut Journal, order: &Order<'_>) -> Result<Run> {
    let folder = spooled::make_folder(journal)?;
    let taken = spool::take(&mut fs::File::open(order.input)?, &folder)?;
    let layout = Layout::choose(None, None, Some(order.input), taken.nature.first, taken.nature.bom);
    let mapping = MappingSpec::default();
    let survey = {
        let mut records = Records::open(taken.file.path(), &layout)?;
        let mapping = Mapping::resolve(&mapping, records.header())?;
        journal.begin_first_pass()?;
        survey(&mut records, &mapping, true, &mut |seen| journal.note(seen))?
    };
    let input = InputId { sha256: taken.sha256, bytes: taken.bytes, path: None };
    let desk = DeskId::new(order.url, ACCOUNT_EMAIL);
    let new = NewRun {
        desk: &desk,
        input: &input,
        layout: &layout,
        mapping: &mapping,
        survey: &survey,
        unchanged: None,
        now_ms: 0,
    };
    Ok(journal.open_run(&new, |name| spooled::keep(&folder, taken.file, name))?)
}

fn desk(order: &Order<'_>) -> Result<ProProfs> {
    let connection = Connection {
        url: order.url.parse()?,
        account_email: ACCOUNT_EMAIL.to_owned(),
        timeout: Duration::from_secs(30),
        connect_timeout: Duration::from_secs(5),
        proxy: None,
        authorities: Vec::new(),
        rules: Rules::default(),
        custom_fields_as_string: false,
    };
    Ok(ProProfs::new(connection, Token::new(TOKEN.to_owned())?, None)?)
}

fn parts<'a>(
    journal: Journal,
    run: &Run,
    desk: &'a ProProfs,
    order: &Order<'_>,
) -> Result<Parts<'a, ProProfs>> {
    let spooled = Spooled::open(&journal, run)?.ok_or("no spool")?;
    let mapping = Mapping::resolve(&run.mapping, spooled.header())?;
    let todo = Todo::new(journal.open_again()?, run, spooled, mapping, false)?;
    let limits = Limits {
        retries: 5,
        resends: false,
        patience: Duration::from_secs(60),
        max_wait: Duration::from_secs(60),
        max_failures: MaxFailures::Rows(0),
    };
    Ok(Parts {
        desk,
        source: Source::spawn(todo)?,
        lanes: Lanes::starting_at(run.cursor),
        pace: Pace::new(&[], None)?,
        breaker: Breaker::new(limits, fastrand::Rng::new(), 0),
        doubts: std::collections::HashMap::new(),
        concurrency: order.concurrency,
        marked_max: order.marked_max,
        counts: run.counts,
        progress: Progress::None,
        until: Until::new(Bounds::default(), jiff::Timestamp::now),
        shutdown: Shutdown::default(),
        writer: Writer::spawn(journal, run.key)?,
    })
}
