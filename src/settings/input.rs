//! How an input is read and mapped: format, delimiter, sheet, mapping; and how its bytes become text by that.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use super::lookup;
use crate::cli::InputArgs;
use crate::config::{Layered, Origin};
use crate::error::Error;
use crate::input::layout::{named, typed};
use crate::input::spool::{self, Kind, Nature, Taken};
use crate::input::{Choice, Format, Layout, Records};
use crate::journal::unchanged::Recent;
use crate::mapping::MappingSpec;
use crate::text::clean;

/// How an input is read and mapped.
#[derive(Debug)]
pub struct InputSettings {
    /// What `--format` says.
    pub format: Option<Choice>,
    /// What `--delimiter` says.
    pub delimiter: Option<u8>,
    /// How columns become fields.
    pub mapping: MappingSpec,
    /// What the profile or the environment says of a sheet, where the input is no spreadsheet.
    pub idle_sheet: Option<String>,
    /// Whether one invalid row spoils the input.
    pub strict: bool,
    /// Whether rows are skipped that ask for what their tickets were given last.
    pub only_changed: bool,
    /// How long ago that may have been.
    pub max_age: Option<Duration>,
}

impl InputSettings {
    /// Reads what was typed for this file (`-`: standard input), and the profile's lookup tables.
    pub fn resolve(args: &InputArgs, file: &Path, layered: &Layered) -> Result<Self, Error> {
        let mut mapping = MappingSpec { ignore_unknown: args.ignore_unknown, ..MappingSpec::default() };
        for typed in &args.map {
            mapping.add_map(typed).map_err(|why| Error::Usage(format!("--map {why}")))?;
        }
        for typed in &args.set {
            mapping.add_set(typed).map_err(|why| Error::Usage(format!("--set {why}")))?;
        }
        for typed in &args.ignore {
            mapping.add_ignore(typed);
        }
        for typed in &args.blank {
            mapping.add_blank(typed).map_err(|why| Error::Usage(format!("--blank {why}")))?;
        }
        lookup::add(&layered.profile.lookup, &mut mapping)?;
        // What does not apply to an input does not make it another run: a profile may be for several kinds, and the
        // failures of a spreadsheet are a CSV that goes through the same profile.
        let mut idle_sheet = None;
        if is_sheet(args.format, file) {
            mapping.sheet.clone_from(&args.sheet);
        } else {
            mapping.encoding = args.encoding.clone().filter(|name| name != "UTF-8");
            idle_sheet.clone_from(&args.sheet);
            if layered.setting("sheet").1 == Origin::Flag {
                return Err(sheet_of_none(args, file));
            }
        }
        Ok(Self {
            format: args.format,
            delimiter: args.delimiter,
            mapping,
            idle_sheet,
            strict: args.strict,
            only_changed: args.only_changed,
            max_age: args.max_age,
        })
    }

    /// Copies an input into `folder`, decoded as was typed or as its first bytes say. `path` is where it has one.
    pub fn take(&self, source: &mut dyn Read, path: Option<&Path>, folder: &Path) -> Result<Taken, Error> {
        spool::take_as(source, folder, self.kind(path))
    }

    /// As [`spool::plain`] has it.
    pub fn plain(&self, source: &mut dyn Read, path: &Path) -> Result<Option<Nature>, Error> {
        spool::plain(source, self.kind(Some(path)))
    }

    fn kind(&self, path: Option<&Path>) -> Kind<'_> {
        if named(self.format, path) == Some(Choice::Xlsx) {
            Kind::Sheet(self.mapping.sheet.as_deref(), self.delimiter.unwrap_or(b','))
        } else {
            Kind::Text(self.mapping.encoding.as_deref())
        }
    }

    /// Which values are recent enough to be compared with.
    #[must_use]
    pub fn recent(&self, now_ms: i64) -> Recent {
        self.max_age.map_or(Recent::ANY, |age| {
            let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
            Recent { from_ms: now_ms.saturating_sub(age_ms), to_ms: now_ms }
        })
    }

    /// How the text in `spool` is laid out; what was found out about it besides is added to `nature.detected`.
    pub fn layout(&self, spool: &Path, nature: &mut Nature, path: Option<&Path>) -> Result<Layout, Error> {
        if let Some(name) = &self.idle_sheet {
            let name = clean(name);
            nature.detected.push(format!(
                "no spreadsheet, so the sheet '{name}' of the profile or the environment means nothing here"
            ));
        }
        let mut layout = Layout::choose(self.format, self.delimiter, path, nature.first, nature.bom);
        if layout.format == Format::Csv && self.format.is_none() && nature.first == Some(b'{') {
            return Err(Error::Input(
                "the input is JSONL, whatever its name says; say --format jsonl, or end its name in .jsonl"
                    .to_owned(),
            ));
        }
        let is_said = self.delimiter.is_some() || layout.delimiter != b',';
        if layout.format == Format::Csv && !is_said {
            layout.delimiter = Records::detect_delimiter(spool, &|name| self.mapping.knows(name))?;
            if layout.delimiter != b',' {
                nature.detected.push(format!("delimiter {} (detected)", typed(layout.delimiter)));
            }
        }
        Ok(layout)
    }
}

fn is_sheet(typed: Option<Choice>, file: &Path) -> bool {
    let path = (file.as_os_str() != "-").then_some(file);
    named(typed, path) == Some(Choice::Xlsx)
}

/// A sheet was named for this very input, which has none.
fn sheet_of_none(args: &InputArgs, file: &Path) -> Error {
    let name = clean(args.sheet.as_deref().unwrap_or_default());
    let file = if file.as_os_str() == "-" { "standard input".to_owned() } else { file.display().to_string() };
    let said = if args.format.is_some() { ", as --format says" } else { "" };
    Error::Usage(format!(
        "--sheet '{name}' is for a spreadsheet (.xlsx), and {file} is not read as one{said}; leave out --sheet, or say \
         --format xlsx if it is one"
    ))
}
