//! `deskload report [RUN]`: writes the reports again, from the journal.

use std::path::Path;

use serde::Serialize;

use crate::cli::ReportArgs;
use crate::commands::{answer, open_archive, pick_run, require_rows, retold};
use crate::error::Error;
use crate::report::next::Going;
use crate::report::summary::{self, Summary};
use crate::report::{self, Files};
use crate::settings::{journal_place, report_dir};
use crate::voice::{self, Form, say};

/// What a program is told.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    summary: Summary<'a>,
    folder: &'a Path,
    failures: Option<&'a Path>,
    in_doubt: Option<&'a Path>,
}

/// Runs it.
pub fn run(args: &ReportArgs) -> Result<(), Error> {
    answer(args.read.json, args.quiet, 0);
    let journal = open_archive(&journal_place(args.read.journal.journal.as_deref())?)?;
    let run = pick_run(&*journal, args.run, "is there", |_| true)?;
    require_rows(&run)?;
    let flags = retold::flags(&*journal, &run)?;
    let mut again = flags.resuming(run.key.id);
    journal.each_invocation(run.key, &mut |invocation| again = invocation.again)?;
    let again = retold::going_on(&again, &run, &flags);
    let going = Going { again: &again, flags: &flags, waits_for: None };
    let place = report_dir(args.report_dir.as_deref());
    let files = report::write(&place, &*journal, &run, args.report_format.format(), going)?;
    let Files { folder, failures, in_doubt, html, reasons, remarks, next } = &files;
    match voice::form() {
        Form::Program => {
            let summary = summary::of(&*journal, &run, reasons)?;
            let (failures, in_doubt) = (failures.as_deref(), in_doubt.as_deref());
            voice::tell_last("report", Told { summary, folder, failures, in_doubt });
        }
        Form::Person | Form::Log => {
            for remark in remarks {
                say(remark);
            }
            for path in [failures, in_doubt].into_iter().flatten() {
                say(&format!("written: {}", path.display()));
            }
            say(&format!("written: {}", folder.join("summary.json").display()));
            say(&format!("written: {}", html.display()));
            for step in next {
                say(&step.to_string());
            }
        }
    }
    journal.close()
}
