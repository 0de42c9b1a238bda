//! `deskload check FILE|-`, and `run --dry-run`: reads every row as a run would, sends nothing, journals nothing.
//!
//! It needs no token and no account. A file of plain UTF-8 is read where it is; of all else a copy is in the folder of
//! temporary files, for its owner alone, and removes itself. What it finds goes to standard output, what is wrong to
//! standard error.

use serde::Serialize;

use crate::check::pointer::{Look, Pointer};
use crate::check::tickets::Counted;
use crate::check::{Findings, shown};
use crate::cli::CheckArgs;
use crate::commands::forecast::{self, Forecast};
use crate::commands::remarks::Remark;
use crate::commands::source::{Source, locate};
use crate::commands::{now_ms, print, remarks};
use crate::config::Layered;
use crate::desk::body::Common;
use crate::error::{EXIT_DONE, Error};
use crate::input::{Format, Layout, Records, Survey, survey};
use crate::journal::Journal;
use crate::journal::archive::{Archive, OnRow};
use crate::journal::postgres::Shared;
use crate::journal::runs::DeskId;
use crate::journal::unchanged::{Compared, Unchanged};
use crate::mapping::{At, Mapping, letters};
use crate::settings::{CheckSettings, InputSettings, JournalPlace};
use crate::shutdown::Shutdown;
use crate::table;
use crate::text::{clean, rows, thousands};
use crate::voice::{self, Form, say};

/// What stands for the account where none was named.
const NO_ACCOUNT: &str = "(no account named)";

/// A signal is looked for after so many rows.
const LOOK_EVERY_ROWS: u64 = 4_096;

/// Runs it.
pub fn run(args: &CheckArgs, layered: &Layered) -> Result<(), Error> {
    let input = InputSettings::resolve(&args.input, &args.file, layered)?;
    let settings = CheckSettings::resolve(&args.send, &layered.profile)?;
    super::speak(&settings.output)?;
    let source = Source::find(&args.file)?;
    let shutdown = Shutdown::listen()?;
    let mut checked = read(&source, &input, &settings, &shutdown)
        .map_err(|error| shutdown.check().err().unwrap_or(error))
        .map_err(|error| locate(error, &source))?;
    let counted = checked.findings.tickets.counted();
    let warnings = checked.warnings(&input, &settings);
    let refused = checked.refused(input.strict, &settings).err();
    let name = source.path().map_or_else(|| "standard input".to_owned(), |_| args.file.display().to_string());
    let report = Report { name: &name, checked: &checked, counted, warnings: &warnings, settings: &settings };
    match voice::form() {
        Form::Program => report.tell(refused.as_ref())?,
        Form::Person | Form::Log => report.print()?,
    }
    refused.map_or(Ok(()), Err)
}

/// What the first reading came to.
struct Checked {
    layout: Layout,
    survey: Survey,
    findings: Findings,
    /// How many valid rows `--only-changed` would skip, going by what the journal knows now.
    unchanged: Option<u64>,
}

fn read(
    source: &Source,
    input: &InputSettings,
    settings: &CheckSettings,
    shutdown: &Shutdown,
) -> Result<Checked, Error> {
    let mut text = source.text(input, &std::env::temp_dir(), shutdown)?;
    let layout = input.layout(&text.path, &mut text.nature, source.path())?;
    for detected in &text.nature.detected {
        say(detected);
    }
    let mut records = Records::open(&text.path, &layout)?;
    let mapping = Mapping::resolve(&input.mapping, records.header())?;
    let mut findings = Findings::new(Pointer::open(&text.path, layout)?);
    let mut read = |on_row: &mut OnRow<'_>| {
        survey(&mut records, &mapping, false, &mut |seen| {
            if seen.row.number().is_multiple_of(LOOK_EVERY_ROWS) {
                shutdown.check()?;
            }
            on_row(seen)?;
            findings.see(seen)
        })
    };
    let (survey, unchanged) = match known(input, settings)? {
        None => (read(&mut |_| Ok(()))?, None),
        Some(Known { mut journal, desk }) => {
            let compared =
                Compared { desk: &desk, recent: input.recent(now_ms()), look: &|| shutdown.check() };
            journal.first_pass(Some(&compared), &mut read)?
        }
    };
    Ok(Checked { layout, survey, findings, unchanged: unchanged.as_ref().map(Unchanged::count) })
}

/// What `--only-changed` compares with. The account is not held: a process that works for it may change the answer.
struct Known {
    journal: Box<dyn Archive>,
    desk: DeskId,
}

/// `None`: nothing was asked for, or nothing is known.
fn known(input: &InputSettings, settings: &CheckSettings) -> Result<Option<Known>, Error> {
    let Some(email) = settings.account_email.as_deref().filter(|_| input.only_changed) else {
        return Ok(None);
    };
    let journal: Option<Box<dyn Archive>> = match &settings.output.journal {
        JournalPlace::File(path) => Journal::open_if_there(path)?.map(|journal| Box::new(journal) as _),
        JournalPlace::Database(place) => Some(Box::new(Shared::open(place)?)),
    };
    Ok(journal.map(|journal| Known { journal, desk: DeskId::new(settings.url.as_str(), email) }))
}

impl Checked {
    fn updates(&self) -> u64 {
        self.survey.rows - self.survey.invalid - self.unchanged.unwrap_or_default()
    }

    /// What looks wrong, and stops nobody.
    fn warnings(&self, input: &InputSettings, settings: &CheckSettings) -> Vec<Remark> {
        let mapping = &input.mapping;
        let mut warnings = remarks::of(&self.survey, mapping);
        let mut warn = |kind, rows, text| warnings.push(Remark::new(kind, rows, text));
        let survey = &self.survey;
        let max_failures = settings.terms.limits.max_failures;
        if max_failures.is_reached(survey.invalid, survey.rows) {
            let text = format!(
                "{} of {} are invalid, more than --max-failures {max_failures} allows: run would send nothing at \
                 first",
                thousands(survey.invalid),
                rows(survey.rows)
            );
            warn("too_many_invalid", Some(survey.invalid), text);
        }
        if input.only_changed && settings.account_email.is_none() {
            let text = "what --only-changed would skip is not known without --account-email: all that is valid counts as sent";
            warn("unchanged_unknown", None, text.to_owned());
        }
        if survey.rows == 0 {
            warn("no_rows", Some(0), "there is no row".to_owned());
        }
        if !mapping.set.is_empty() && survey.rows > 0 {
            let set: Vec<String> = mapping.set.keys().map(ToString::to_string).collect();
            let text = format!("--set gives every row the same {}", clean(&set.join(", ")));
            warn("set_in_every_row", Some(survey.rows), text);
        }
        warnings
    }

    /// Why a run would refuse it.
    fn refused(&self, strict: bool, settings: &CheckSettings) -> Result<(), Error> {
        if strict {
            // The rows are shown already.
            self.survey.refuse_invalid(&[])?;
        }
        settings.terms.guards.check(self.survey.rows, self.updates())
    }
}

/// What is shown.
struct Report<'a> {
    name: &'a str,
    checked: &'a Checked,
    counted: Counted,
    warnings: &'a [Remark],
    settings: &'a CheckSettings,
}

/// What a program is told.
#[derive(Serialize)]
struct Told<'a> {
    schema: u32,
    exit_code: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    input: ToldInput<'a>,
    url: &'a str,
    account_email: Option<&'a str>,
    #[serde(flatten)]
    found: shown::Told<'a>,
    warnings: &'a [Remark],
    requests: u64,
    #[serde(flatten)]
    forecast: forecast::Told,
}

#[derive(Serialize)]
struct ToldInput<'a> {
    name: &'a str,
    format: Format,
    #[serde(skip_serializing_if = "Option::is_none")]
    delimiter: Option<char>,
    rows: u64,
    valid: u64,
    invalid: u64,
    identical: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    unchanged: Option<u64>,
}

impl Report<'_> {
    fn forecast(&self) -> Forecast<'_> {
        Forecast::new(self.checked.updates(), &self.settings.terms.pace, &self.settings.terms.bounds)
    }

    fn common(&self) -> Common<'_> {
        Common {
            account_email: self.settings.account_email.as_deref().unwrap_or(NO_ACCOUNT),
            custom_fields_as_string: self.settings.custom_fields_as_string,
        }
    }

    fn delimiter(&self) -> Option<char> {
        let layout = self.checked.layout;
        layout.format.has_cells().then_some(char::from(layout.delimiter))
    }

    /// For a person: what is wrong first, so that the whole stands last.
    fn print(&self) -> Result<(), Error> {
        self.complain();
        if self.settings.output.quiet {
            return Ok(());
        }
        let Checked { survey, findings, .. } = self.checked;
        let width = table::width(&console::Term::stdout());
        let format = match (self.checked.layout.format, self.checked.layout.delimiter) {
            (Format::Jsonl, _) => "JSONL".to_owned(),
            (Format::Xlsx, _) => "a spreadsheet".to_owned(),
            (Format::Csv, b'\t') => "CSV with tabs".to_owned(),
            (Format::Csv, delimiter) => format!("CSV with '{}'", char::from(delimiter)),
        };
        let mut sums = vec![
            ("input", format!("{}, {format}", clean(self.name))),
            ("rows", thousands(survey.rows)),
            ("invalid", thousands(survey.invalid)),
        ];
        if let Some(unchanged) = self.checked.unchanged {
            sums.push(("unchanged", thousands(unchanged)));
        }
        if self.counted.tickets > 0 {
            sums.push(("tickets", shown::tickets(self.counted)));
        }
        print(&table::labelled(&sums, width));
        if self.checked.updates() == 0 {
            return Ok(());
        }
        print(&format!("\n{}", shown::fields(findings, width)));
        let samples = shown::samples(findings, self.common(), width)?;
        print(&format!("\nthe first requests\n{samples}\n"));
        let mut plan = vec![
            (
                "desk",
                format!("{} for {}", clean(self.settings.url.as_str()), clean(self.common().account_email)),
            ),
            ("requests", thousands(self.checked.updates())),
        ];
        plan.extend(self.forecast().lines());
        print(&table::labelled(&plan, width));
        Ok(())
    }

    fn complain(&self) {
        let Checked { survey, findings, .. } = self.checked;
        let width = table::width(&console::Term::stderr()).unwrap_or(table::USUAL_WIDTH);
        let look = Look { width: width.into(), colors: console::colors_enabled_stderr() };
        for (invalid, pointed) in &findings.invalid {
            let what = match &invalid.trouble.at {
                At::Cell(column, _) => {
                    format!(
                        "row {}, cell {}{}: {}",
                        invalid.row,
                        letters(*column),
                        invalid.line,
                        invalid.trouble.what
                    )
                }
                _ => format!("row {}: {}", invalid.row, invalid.trouble.what),
            };
            voice::complain(&format!("{}\n", pointed.render(&what, self.name, look)));
        }
        let more = survey.invalid - findings.invalid.len() as u64;
        if more > 0 {
            voice::complain(&format!("and {} more that are invalid\n", rows(more)));
        }
        for warning in self.warnings {
            voice::complain(&format!("warning: {}", warning.text));
        }
        if !self.warnings.is_empty() {
            voice::complain("");
        }
    }

    /// For a program: one object, whatever comes of it.
    fn tell(&self, refused: Option<&Error>) -> Result<(), Error> {
        let survey = &self.checked.survey;
        let told = Told {
            schema: 1,
            exit_code: refused.map_or(EXIT_DONE, Error::exit_code),
            refused: refused.map(ToString::to_string),
            input: ToldInput {
                name: self.name,
                format: self.checked.layout.format,
                delimiter: self.delimiter(),
                rows: survey.rows,
                valid: survey.rows - survey.invalid,
                invalid: survey.invalid,
                identical: survey.identical,
                unchanged: self.checked.unchanged,
            },
            url: self.settings.url.as_str(),
            account_email: self.settings.account_email.as_deref(),
            found: shown::told(&self.checked.findings, self.counted, self.common())?,
            warnings: self.warnings,
            requests: self.checked.updates(),
            forecast: self.forecast().told(),
        };
        voice::tell_last("check", told);
        Ok(())
    }
}
