//! `deskload runs [list]`: the journal's runs, a line each, oldest first; it may be read while a run is under way.

use std::path::Path;

use serde::Serialize;

use crate::cli::ReadArgs;
use crate::commands::standing::Standing;
use crate::commands::{answer, open_archive, print};
use crate::error::Error;
use crate::journal::runs::{Counts, Run};
use crate::journal::state::State;
use crate::report::summary::{Head, rfc_3339};
use crate::settings::{journal_place, state_folder};
use crate::table;
use crate::text::{clean, moment, rows, thousands};
use crate::voice::{self, Form};
use crate::wrap::wrapped;

/// Of this version of what a program is told.
const SCHEMA: u32 = 1;

/// Runs `runs list`.
pub fn list(args: &ReadArgs) -> Result<(), Error> {
    answer(args.json, false, 0);
    let journal = open_archive(&journal_place(args.journal.journal.as_deref())?)?;
    let folder = state_folder()?;
    let standing = |run: Run| {
        let is_held = journal.is_worked_on(&folder, &run)?;
        Ok((Standing::of(&run, is_held), run))
    };
    let runs: Vec<(Standing, Run)> =
        journal.runs()?.into_iter().map(standing).collect::<Result<_, Error>>()?;
    match voice::form() {
        Form::Program => tell(&journal.name(), &runs),
        Form::Person | Form::Log => print(&shown(&runs, table::width(&console::Term::stdout()))),
    }
    journal.close()
}

/// What a program is told of a run, besides its rows.
#[derive(Serialize)]
pub(super) struct Told<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    #[serde(flatten)]
    standing: ToldStanding,
}

/// How a run stands, for a program.
#[derive(Serialize)]
pub(super) struct ToldStanding {
    state: Standing,
    #[serde(skip_serializing_if = "Option::is_none")]
    pruned_at: Option<String>,
}

impl ToldStanding {
    pub(super) fn new(state: Standing, run: &Run) -> Self {
        Self { state, pruned_at: run.pruned_ms.map(rfc_3339) }
    }
}

#[derive(Serialize)]
struct ToldRuns<'a> {
    schema: u32,
    journal: &'a str,
    runs: Vec<Told<'a>>,
}

fn tell(journal: &str, runs: &[(Standing, Run)]) {
    let told = |(state, run): &'_ (Standing, Run)| ToldStanding::new(*state, run);
    let runs = runs.iter().map(|both| Told { head: Head::of(&both.1), standing: told(both) }).collect();
    voice::tell_last("runs", ToldRuns { schema: SCHEMA, journal, runs });
}

/// The table for a person.
fn shown(runs: &[(Standing, Run)], width: Option<u16>) -> String {
    let mut totals = Counts::default().by_outcome();
    for (_, run) in runs {
        totals.iter_mut().zip(run.counts.by_outcome()).for_each(|((_, total), (_, count))| *total += count);
    }
    // An outcome that no row has is left out; how many were applied is always told.
    let is_told = totals.map(|(state, total)| total > 0 || state == State::Applied);
    let told = |counts: Counts| {
        counts
            .by_outcome()
            .into_iter()
            .zip(is_told)
            .filter_map(|(outcome, is_told)| is_told.then_some(outcome))
    };
    let several = runs.iter().any(|(_, run)| runs.first().is_some_and(|(_, first)| first.desk != run.desk));
    let mut head = vec!["run", "started", "input"];
    head.extend(several.then_some("account"));
    let texts = head.len();
    head.push("rows");
    head.extend(told(Counts::default()).map(|(state, _)| state.as_str()));
    let mut table = table::plain(None);
    let numbers = texts..head.len();
    head.push("state");
    table.set_header(head);
    numbers.for_each(|column| table::align_right(&mut table, column));
    for (standing, run) in runs {
        let mut cells = vec![run.key.id.to_string(), moment(run.started_ms), clean(name(run))];
        cells.extend(several.then(|| account(run)));
        cells.push(thousands(run.counts.rows));
        cells.extend(told(run.counts).map(|(_, count)| thousands(count)));
        cells.push(standing.word().to_owned());
        table.add_row(cells);
    }
    table::if_it_fits(table, width, |width| {
        runs.iter().map(|(standing, run)| paragraph(*standing, run, several, width)).collect()
    })
}

/// A run on a terminal that is too narrow for the table.
fn paragraph(standing: Standing, run: &Run, several: bool, width: u16) -> String {
    let outcomes = run.counts.by_outcome().into_iter().filter(|(_, count)| *count > 0);
    let outcomes = outcomes.map(|(state, count)| format!("{} {}", thousands(count), state.as_str()));
    let outcomes = outcomes.reduce(|all, one| format!("{all}, {one}"));
    let account = if several { format!(", {}", account(run)) } else { String::new() };
    let told = format!(
        "run {}, {}\n  {}, {}{account}\n  {}{}\n",
        run.key.id,
        standing.word(),
        moment(run.started_ms),
        clean(name(run)),
        rows(run.counts.rows),
        outcomes.map_or_else(String::new, |outcomes| format!(": {outcomes}"))
    );
    wrapped(&told, width.into())
}

/// The last part of the input's path, which is what people know it by.
fn name(run: &Run) -> &str {
    let path = run.input.source();
    Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or(path)
}

/// The account and, because one account may be at several desks, the desk's host.
fn account(run: &Run) -> String {
    let host = url::Url::parse(&run.desk.url).ok().and_then(|url| url.host_str().map(str::to_owned));
    clean(&format!("{} at {}", run.desk.account_email, host.unwrap_or_else(|| run.desk.url.clone())))
}
