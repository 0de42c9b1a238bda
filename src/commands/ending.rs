//! How an invocation ends: the exit code, the reports, what is said of it and what to do next.
//!
//! Whatever stopped the sending, the reports are written; a report that cannot be written does not hide why the run
//! stopped. What is said comes from the journal, after the last commit.

use console::Style;

use crate::commands::{now_ms, retold, watched};
use crate::error::{EXIT_DONE, Error};
use crate::journal::archive::Archive;
use crate::journal::invocations::End;
use crate::journal::later::Place;
use crate::journal::runs::Run;
use crate::pipeline::Ended;
use crate::report::next::{self, Going};
use crate::report::{self, Files, summary};
use crate::settings::{OutputSettings, SendSettings};
use crate::text::{clean_whole, date, rows, thousands};
use crate::voice::{self, Form, say};

/// Settles the invocation: what a bug left on its way, exit code, reports, spool, the last words, which begin with
/// `headline`. Does it for a process that was killed before it could, too.
pub(super) fn finish(
    journal: &mut dyn Archive,
    run: &Run,
    ended: Ended,
    settings: &SendSettings,
    headline: &str,
    again: &str,
) -> Result<(), Error> {
    if matches!(ended.stopped, Some(Error::Machine(_))) {
        // A bug may have left rows on their way: they are in doubt from now on.
        journal.recover(&run.desk)?;
    }
    let run = reload(journal, run)?;
    let flags = retold::flags(journal, &run)?;
    let again = retold::going_on(again, &run, &flags);
    let going = Going { again: &again, flags: &flags, waits_for: ended.waits_for };
    let end = ending(&run, ended);
    let exit_code = end.as_ref().map_or(EXIT_DONE, Error::exit_code);
    // Where an end is noted already, this invocation has sent nothing, and the time stays true; a person's word may
    // have changed what there is to look at since.
    let now_ms = now_ms();
    let ended_ms = run.ended_ms.unwrap_or(now_ms);
    let said = end.as_ref().map(|end| clean_whole(&end.to_string()));
    let note = End { now_ms, ended_ms, exit_code, said: said.as_deref() };
    let noted = journal.end_invocation(run.key, &note).and_then(|()| reload(journal, &run));
    let written = noted
        .as_ref()
        .map_err(|error| Error::Machine(error.to_string()))
        .and_then(|run| write_reports(&settings.output, journal, run, going))
        .and_then(|files| journal.cut_down(&run).map(|()| files));
    let end = match (&written, end) {
        (Ok(_), end) => end,
        (Err(_), Some(Error::Machine(why))) => Some(Error::Machine(why)),
        (Err(error), _) => Some(Error::Machine(error.to_string())),
    };
    if end.is_some() {
        voice::speak_up();
    }
    let run = noted.as_ref().unwrap_or(&run);
    if let Some(path) = &settings.output.metrics_file {
        watched::write_metrics(path, run, now_ms, journal.last_success(&run.desk)?);
    }
    let files = written.as_ref().ok().and_then(Option::as_ref);
    Ending { journal, run, files, end: end.as_ref(), going }.tell(headline)?;
    end.map_or(Ok(()), Err)
}

/// The reports; of a run whose rows were given up, those that were written then stay as they are.
fn write_reports(
    output: &OutputSettings,
    journal: &dyn Archive,
    run: &Run,
    going: Going<'_>,
) -> Result<Option<Files>, Error> {
    if run.is_pruned() {
        return Ok(None);
    }
    report::write(&output.report_dir, journal, run, output.report_format, going).map(Some)
}

fn reload(journal: &dyn Archive, run: &Run) -> Result<Run, Error> {
    journal
        .run(run.key.id)?
        .ok_or_else(|| Error::Machine(format!("run {} has vanished from the journal", run.key.id)))
}

/// What the invocation ends with, as the design orders it; `None`: exit 0.
#[must_use]
pub fn ending(run: &Run, ended: Ended) -> Option<Error> {
    let Ended { stopped, resting, holding, waits_for } = ended;
    if run.counts.pending > 0 && stopped.is_none() && resting == 0 && !holding {
        return Some(Error::Machine(format!(
            "{} were not sent, and nothing held them back: this is a bug in deskload",
            rows(run.counts.pending)
        )));
    }
    let resting = (resting > 0).then(|| {
        Error::Early(format!(
            "the desk kept asking to come back later for {}; the same command sends them another time",
            rows(resting)
        ))
    });
    let attention = attention(run, holding, waits_for);
    [stopped, resting, attention].into_iter().flatten().reduce(Error::graver)
}

/// Rows that need a person; those that wait behind a row in doubt are among them.
pub(super) fn attention(run: &Run, holding: bool, waits_for: Option<Place>) -> Option<Error> {
    let counts = &run.counts;
    let mut parts = Vec::new();
    for (count, word) in
        [(counts.failed, "failed"), (counts.invalid, "invalid"), (counts.in_doubt, "in doubt")]
    {
        if count > 0 {
            parts.push(format!("{} {word}", thousands(count)));
        }
    }
    if counts.pending > 0 && holding {
        let other =
            waits_for.map_or_else(String::new, |place| format!(" (run {}, row {})", place.run, place.row));
        parts.push(format!("{} waiting behind rows in doubt{other}", thousands(counts.pending)));
    }
    (!parts.is_empty()).then(|| Error::Attention(format!("rows need a look: {}", parts.join(", "))))
}

/// What is told at the end.
struct Ending<'a> {
    journal: &'a dyn Archive,
    run: &'a Run,
    /// The reports, if there are any and they could be written.
    files: Option<&'a Files>,
    end: Option<&'a Error>,
    going: Going<'a>,
}

impl Ending<'_> {
    /// How the run stands, where the reports are, and, last of all, what to do next.
    fn tell(&self, headline: &str) -> Result<(), Error> {
        let Self { journal, run, files, .. } = *self;
        // The reports have read them already; without reports they are read here.
        let read = match files {
            Some(_) => Vec::new(),
            None => summary::reasons(journal, run)?,
        };
        let reasons = files.map_or(&read, |files| &files.reasons);
        let steps = match files {
            Some(files) => files.next.clone(),
            None => next::steps(run, None, self.going),
        };
        let pruned = run.pruned_ms.map(|pruned_ms| {
            let when = date(pruned_ms);
            format!(
                "its rows were pruned on {when}, so no report is written; --again sends the whole file anew"
            )
        });
        let next: Vec<String> = pruned.into_iter().chain(steps.iter().map(ToString::to_string)).collect();
        let error = self.end.map(ToString::to_string);
        let folder = files.map(|files| files.folder.as_path());
        let summary = summary::of(journal, run, reasons)?;
        voice::tell_summary(summary::Told { summary, folder, error, next: &next });
        match voice::form() {
            Form::Person => say(&format!("{headline}\n{}", summary::table(run, &Style::new().for_stderr()))),
            Form::Log => say(&format!("{headline}: {}", summary::line(run))),
            Form::Program => {
                voice::write_down(&format!("{headline}: {}", summary::line(run)));
                for line in &next {
                    voice::write_down(line);
                }
                return Ok(());
            }
        }
        if let Some(lines) = summary::reason_lines(reasons) {
            say(&lines);
        }
        if let Some(older) = journal.older_unfinished(run)? {
            say(&format!(
                "run {older} of the same file, with other content, is not finished: {}",
                self.going.flags.resuming(older)
            ));
        }
        if let Some(files) = files {
            for remark in &files.remarks {
                say(remark);
            }
            for path in [&files.failures, &files.in_doubt].into_iter().flatten() {
                say(&format!("written: {}", path.display()));
            }
            say(&format!("written: {}", files.folder.join("summary.json").display()));
            say(&format!("written: {}", files.html.display()));
        }
        next.into_iter().for_each(voice::say_last);
        Ok(())
    }
}
