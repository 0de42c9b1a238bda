//! `deskload status [RUN]`: how a run stands, from the journal; it may be read while a run is under way.

use console::Style;
use serde::Serialize;

use crate::cli::StatusArgs;
use crate::commands::runs::ToldStanding;
use crate::commands::standing::Standing;
use crate::commands::{answer, open_archive, pick_run, print, retold};
use crate::error::Error;
use crate::journal::runs::Run;
use crate::report::summary::{self, Summary};
use crate::settings::{journal_place, state_folder};
use crate::table;
use crate::text::{clean, moment, thousands};
use crate::voice::{self, Form};
use crate::wrap::wrapped;

/// What a program is told.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    summary: Summary<'a>,
    #[serde(flatten)]
    standing: ToldStanding,
}

/// Runs it.
pub fn run(args: &StatusArgs) -> Result<(), Error> {
    answer(args.read.json, false, 0);
    let journal = open_archive(&journal_place(args.read.journal.journal.as_deref())?)?;
    let run = pick_run(&*journal, args.run, "is there", |_| true)?;
    let standing = Standing::of(&run, journal.is_worked_on(&state_folder()?, &run)?);
    let reasons = summary::reasons(&*journal, &run)?;
    match voice::form() {
        Form::Program => {
            let summary = summary::of(&*journal, &run, &reasons)?;
            voice::tell_last("status", Told { summary, standing: ToldStanding::new(standing, &run) });
        }
        Form::Person | Form::Log => {
            let facts = facts(&run, &standing.sentence(&run, &retold::flags(&*journal, &run)?));
            let width = table::width(&console::Term::stdout());
            print(&table::labelled(&facts, width));
            print(&format!("{}\n", summary::table(&run, &Style::new().for_stdout())));
            if let Some(lines) = summary::reason_lines(&reasons) {
                let lines = width.map_or_else(|| lines.clone(), |width| wrapped(&lines, width.into()));
                print(&format!("{lines}\n"));
            }
        }
    }
    journal.close()
}

/// What is to be said of the run besides its rows.
fn facts(run: &Run, standing: &str) -> Vec<(&'static str, String)> {
    let later = match run.throttled {
        0 => String::new(),
        throttled => format!(", {} told to come back later", thousands(throttled)),
    };
    let mut facts = vec![
        ("run", format!("{}, {}", run.key.id, standing)),
        ("input", clean(run.input.source())),
        ("desk", clean(&format!("{} for {}", run.desk.url, run.desk.account_email))),
        ("started", moment(run.started_ms)),
    ];
    facts.extend(run.ended_ms.map(|ended_ms| ("ended", moment(ended_ms))));
    facts.push(("requests", format!("{}{later}", thousands(run.attempts))));
    facts
}
