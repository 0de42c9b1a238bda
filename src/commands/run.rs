//! `deskload run FILE|-`: takes the input in, decides whether it is new, and drives its run.

use std::io::{self, BufRead as _, IsTerminal as _};
use std::path::Path;

use crate::cli::RunArgs;
use crate::commands::drive::{self, Held};
use crate::commands::forecast::Forecast;
use crate::commands::retold::Typed;
use crate::commands::source::{Source, locate};
use crate::commands::{check, ending, now_ms, remarks, shared, watched};
use crate::config::Layered;
use crate::error::{Error, said};
use crate::input::spool::{self, Taken};
use crate::input::{Choice, Layout, Records, Survey, survey};
use crate::journal::archive::Archive;
use crate::journal::runs::{InputId, NewRun, Run};
use crate::journal::unchanged::{Compared, Unchanged};
use crate::mapping::Mapping;
use crate::pipeline::Ended;
use crate::settings::{InputSettings, JournalPlace, Known, SendSettings};
use crate::shutdown::Shutdown;
use crate::text::{rows, thousands};
use crate::voice::{self, say};

/// Runs it.
pub fn run(args: &RunArgs, layered: &Layered) -> Result<(), Error> {
    if args.dry_run {
        return check::run(&args.check, layered);
    }
    let input = InputSettings::resolve(&args.check.input, &args.check.file, layered)?;
    let settings = SendSettings::resolve(&args.check.send, Known(None), &layered.profile)?;
    super::speak(&settings.output)?;
    let on_finish = settings.output.on_finish.as_deref();
    let done = match &settings.output.journal {
        JournalPlace::File(path) => work(path, args, &input, &settings),
        JournalPlace::Database(place) => shared::run(place, args, &input, &settings),
    };
    watched::on_finish(on_finish, done)
}

fn work(path: &Path, args: &RunArgs, input: &InputSettings, settings: &SendSettings) -> Result<(), Error> {
    let source = Source::find(&args.check.file)?;
    let shutdown = Shutdown::listen()?;
    let mut held = drive::hold(path, settings, &shutdown)?;
    let folder = held.journal.spool_folder();
    let planner = Planner { input, settings, args, shutdown: &shutdown };
    let plan = planner.plan(&mut held.journal, &folder, &source)?;
    let again = Typed::now().whole();
    match plan {
        Plan::Send(run) => drive::drive(held, &run, settings, &shutdown, &again),
        Plan::NothingLeft(run) => {
            let headline = nothing_left_but_again(&run);
            end_without_sending(held, &run, None, settings, &headline, &again)
        }
        Plan::TooManyInvalid(run, why) => {
            let headline = format!("run {}: nothing was sent", run.key.id);
            end_without_sending(held, &run, Some(why), settings, &headline, &again)
        }
        Plan::Declined => {
            say("nothing was sent");
            Ok(())
        }
    }
}

/// What is said of a run whose input has been worked through. The process that sent the last row may have been killed
/// before it could write the reports.
pub(super) fn nothing_left(run: &Run) -> String {
    let left = if ending::attention(run, false, None).is_some() { "send" } else { "do" };
    format!("run {} has worked through this input: nothing left to {left}", run.key.id)
}

/// The same, with the way to a new run.
pub(super) fn nothing_left_but_again(run: &Run) -> String {
    nothing_left(run) + " (--again sends it once more)"
}

/// Ends a run's invocation as [`drive::drive`] would, with the reports.
pub(super) fn end_without_sending(
    held: Held,
    run: &Run,
    stopped: Option<Error>,
    settings: &SendSettings,
    headline: &str,
    again: &str,
) -> Result<(), Error> {
    let Held { mut journal, account } = held;
    let ended =
        ending::finish(&mut journal, run, Ended { stopped, ..Ended::default() }, settings, headline, again);
    drive::put_away(journal, account, ended)
}

/// What to do with an input.
pub(super) enum Plan {
    /// Send what is left of this run.
    Send(Box<Run>),
    /// All of it has been done.
    NothingLeft(Box<Run>),
    /// A new run, of which more rows are invalid than `--max-failures` allows: look first.
    TooManyInvalid(Box<Run>, Error),
    /// A person said no.
    Declined,
}

impl Plan {
    /// For a run that was just opened.
    fn begun(run: Box<Run>, too_many: Option<Error>) -> Self {
        match too_many {
            Some(why) => Self::TooManyInvalid(run, why),
            None => Self::Send(run),
        }
    }

    /// The run that was there before.
    fn known_run(&self) -> Option<&Run> {
        match self {
            Self::Send(run) | Self::NothingLeft(run) => Some(run),
            Self::TooManyInvalid(..) | Self::Declined => None,
        }
    }
}

/// Decides it, by what was typed.
pub(super) struct Planner<'a> {
    pub(super) input: &'a InputSettings,
    pub(super) settings: &'a SendSettings,
    pub(super) args: &'a RunArgs,
    pub(super) shutdown: &'a Shutdown,
}

/// A new input that was read once, and may begin.
struct Looked {
    input: InputId,
    layout: Layout,
    survey: Survey,
    /// Rows that need not be sent.
    unchanged: Option<Unchanged>,
    /// More of its rows are invalid than `--max-failures` allows.
    too_many: Option<Error>,
}

impl Planner<'_> {
    /// A copy of the input is made in `folder`, whence the journal takes what it keeps of it.
    pub(super) fn plan(
        &self,
        journal: &mut dyn Archive,
        folder: &Path,
        source: &Source,
    ) -> Result<Plan, Error> {
        // A file that may be known is hashed before it is copied: a resume should not copy ten million rows.
        if let Source::File { bytes, .. } = source
            && journal.knows_input_of(*bytes)?
        {
            let (sha256, _) = self.interruptible(spool::digest(&mut source.open(self.shutdown)?))?;
            match self.known(journal, &self.runs_of(journal, &sha256)?)? {
                Some(plan) if lost(journal, &plan).is_none() => return Ok(plan),
                _ => {}
            }
        }
        let taken = self.interruptible(source.take(self.input, folder, self.shutdown));
        let taken = taken.map_err(|error| locate(error, source))?;
        let runs = self.runs_of(journal, &taken.sha256)?;
        if let Some(plan) = self.known(journal, &runs)? {
            if let Some(run) = lost(journal, &plan) {
                journal.take_back(run, taken)?;
            }
            return Ok(plan);
        }
        self.begin(journal, source, taken, runs.last().map(|run| run.key.id))
    }

    /// A signal while reading shows as an error of the reader's; it is the signal that is told.
    fn interruptible<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        result.map_err(|error| self.shutdown.check().err().unwrap_or(error))
    }

    fn runs_of(&self, journal: &dyn Archive, sha256: &str) -> Result<Vec<Run>, Error> {
        journal.runs_of_input(&self.settings.desk_id, sha256)
    }

    /// What is to be done with an input of which there are these runs; `None`: it is to be run as a new one.
    fn known(&self, journal: &dyn Archive, runs: &[Run]) -> Result<Option<Plan>, Error> {
        let resends = self.settings.terms.limits.resends;
        // A run is input, mapping and desk: another mapping makes another run.
        let same: Vec<&Run> = runs.iter().rev().filter(|run| self.differences(run).is_empty()).collect();
        if let Some(run) = same.iter().copied().find(|run| run.has_left(resends)) {
            if self.input.only_changed && run.unchanged.is_none() {
                say(&format!(
                    "run {} was begun without --only-changed, which is for a new run: all that is left of it is sent",
                    run.key.id
                ));
            }
            return Ok(Some(Plan::Send(Box::new(run.clone()))));
        }
        if self.args.again {
            return Ok(None);
        }
        if let Some(run) = runs.iter().rev().find(|run| !run.is_finished()) {
            return Err(Error::Usage(format!(
                "run {} of this input is not finished and was started otherwise:\n  {}\ngo on with it as it was \
                 ({}), or start anew with --again",
                run.key.id,
                self.differences(run).join("\n  "),
                Typed::now().resuming(run.key.id)
            )));
        }
        match same.first() {
            Some(run) if !journal.desk_changed_since(run)? => {
                Ok(Some(Plan::NothingLeft(Box::new((*run).clone()))))
            }
            _ => Ok(None),
        }
    }

    /// How this command reads the rows otherwise than the run did.
    fn differences(&self, run: &Run) -> Vec<String> {
        let mut differences = self.input.mapping.differences(&run.mapping);
        let typed = Layout::choose(self.input.format, self.input.delimiter, None, None, run.layout.bom);
        if self.input.format.is_some() && typed.format != run.layout.format {
            differences.push("--format is another".to_owned());
        }
        let names_delimiter = self.input.delimiter.is_some() || self.input.format == Some(Choice::Tsv);
        if names_delimiter && typed.delimiter != run.layout.delimiter {
            differences.push("--delimiter is another".to_owned());
        }
        differences
    }

    /// Reads every row once, and opens a run for them, unless there is a newer one of this input than `newest` by then.
    fn begin(
        &self,
        journal: &mut dyn Archive,
        source: &Source,
        mut taken: Taken,
        newest: Option<u64>,
    ) -> Result<Plan, Error> {
        let Some(looked) = self.look(journal, source, &mut taken)? else { return Ok(Plan::Declined) };
        let Looked { input, layout, survey, unchanged, too_many } = looked;
        let new = NewRun {
            desk: &self.settings.desk_id,
            input: &input,
            layout: &layout,
            mapping: &self.input.mapping,
            survey: &survey,
            unchanged: unchanged.as_ref(),
            now_ms: now_ms(),
        };
        let run = Box::new(journal.begin_run(&new, taken, newest)?);
        Ok(Plan::begun(run, too_many))
    }

    /// Has every row read once, tells what was found, and asks whether to begin; `None`: a person said no.
    fn look(
        &self,
        journal: &mut dyn Archive,
        source: &Source,
        taken: &mut Taken,
    ) -> Result<Option<Looked>, Error> {
        let layout = self
            .input
            .layout(taken.file.path(), &mut taken.nature, source.path())
            .map_err(|error| locate(error, source))?;
        for detected in &taken.nature.detected {
            say(detected);
        }
        let surveyed = self.survey(journal, taken, layout);
        let (survey, unchanged) = surveyed.map_err(|error| locate(error, source))?;
        self.shutdown.check()?;
        for remark in remarks::of(&survey, &self.input.mapping) {
            remark.tell();
        }
        let updates = survey.rows - survey.invalid - unchanged.as_ref().map_or(0, Unchanged::count);
        self.settings.terms.guards.check(survey.rows, updates)?;
        let too_many = self.too_many_invalid(&survey);
        if too_many.is_none() && !self.may_begin(source, &survey, updates)? {
            return Ok(None);
        }
        let input = InputId {
            sha256: taken.sha256.clone(),
            bytes: taken.bytes,
            path: source.path().map(|path| path.to_string_lossy().into_owned()),
        };
        Ok(Some(Looked { input, layout, survey, unchanged, too_many }))
    }

    /// Reads every row once, and compares them with what the journal knows, if that is asked for.
    fn survey(
        &self,
        journal: &mut dyn Archive,
        taken: &Taken,
        layout: Layout,
    ) -> Result<(Survey, Option<Unchanged>), Error> {
        let mut records = Records::open(taken.file.path(), &layout)?;
        let mapping = Mapping::resolve(&self.input.mapping, records.header())?;
        let look = || self.shutdown.check();
        let desk = &self.settings.desk_id;
        let compared = Compared { desk, recent: self.input.recent(now_ms()), look: &look };
        let compared = self.input.only_changed.then_some(&compared);
        if compared.is_some() {
            drive::unless_others(self.settings, self.shutdown, || journal.require_alone(desk))?;
        }
        journal.first_pass(compared, &mut |on_row| {
            survey(&mut records, &mapping, self.input.strict, &mut |seen| {
                look()?;
                on_row(seen)
            })
        })
    }

    /// The run is opened all the same, so that its reports show the rows; the same command then goes on.
    fn too_many_invalid(&self, survey: &Survey) -> Option<Error> {
        let max_failures = self.settings.terms.limits.max_failures;
        max_failures.is_reached(survey.invalid, survey.rows).then(|| {
            Error::TooManyFailures(format!(
                "{} of {} are invalid, more than --max-failures {max_failures} allows; nothing was sent; correct the \
                 file, or look at the report and give the same command again to send the others",
                survey.invalid,
                rows(survey.rows)
            ))
        })
    }

    /// Shows what would be done and asks, if somebody is there to be asked.
    fn may_begin(&self, source: &Source, survey: &Survey, updates: u64) -> Result<bool, Error> {
        let asked =
            io::stdin().is_terminal() && io::stderr().is_terminal() && !matches!(source, Source::Stdin);
        if self.args.yes || !asked || updates == 0 {
            return Ok(true);
        }
        let SendSettings { desk_id, terms, .. } = self.settings;
        let told = |count, word| match count {
            0 => String::new(),
            count => format!(", {} of them {word}", thousands(count)),
        };
        let unsent =
            told(survey.invalid, "invalid") + &told(survey.rows - survey.invalid - updates, "unchanged");
        voice::complain(&format!("{}: {}{unsent}", self.args.check.file.display(), rows(survey.rows)));
        voice::complain(&format!("desk: {} for {}", desk_id.url, desk_id.account_email));
        for (label, text) in Forecast::new(updates, &terms.pace, &terms.bounds).lines() {
            voice::complain(&format!("{label}: {text}"));
        }
        let updates =
            if updates == 1 { "1 update".to_owned() } else { format!("{} updates", thousands(updates)) };
        voice::complain(&format!("Send {updates}? [y/N]"));
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).map_err(|error| {
            Error::Machine(format!("failed to read the answer: {}; --yes needs none", said(&error)))
        })?;
        self.shutdown.check()?;
        Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
    }
}

/// The run that is to go on, if its copy of the input is gone, so that it has to be taken in again.
fn lost<'a>(journal: &dyn Archive, plan: &'a Plan) -> Option<&'a Run> {
    plan.known_run().filter(|run| journal.wants_its_input(run))
}
