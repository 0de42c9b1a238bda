//! The contents of the lookup tables that a profile names, read when a run is started; a resume has them in its mapping.

use std::fs::File;
use std::path::Path;

use crate::config::{LookupFrom, LookupSetting};
use crate::error::{Error, explained};
use crate::input::spool;
use crate::input::{Body, Format, Layout, Record, Records};
use crate::mapping::lookup::LOOKUP_ENTRIES_MAX;
use crate::mapping::spec::check_set;
use crate::mapping::{Lookup, MappingSpec};
use crate::text::{clean, closest, listed};

/// Adds the tables to the mapping.
pub(super) fn add(settings: &[LookupSetting], mapping: &mut MappingSpec) -> Result<(), Error> {
    for setting in settings {
        let table = read(setting)
            .map_err(|why| Error::Usage(format!("{}: lookup.{}: {why}", setting.place, setting.target)))?;
        mapping
            .add_lookup(setting.target.clone(), table)
            .map_err(|why| Error::Usage(format!("{}: {why}", setting.place)))?;
    }
    Ok(())
}

fn read(setting: &LookupSetting) -> Result<Lookup, String> {
    let mut table = Lookup::default();
    let mut put = |word: &str, id: &str| {
        if word.trim().is_empty() || id.trim().is_empty() {
            return Err("a word or an id is blank; fill it in, or take the entry out".to_owned());
        }
        check_set(&setting.target, id)?;
        table.add(word, id);
        if table.len() > LOOKUP_ENTRIES_MAX {
            return Err(format!(
                "there are over {LOOKUP_ENTRIES_MAX} entries; leave out those that no row needs"
            ));
        }
        Ok(())
    };
    match &setting.from {
        LookupFrom::Inline(pairs) => {
            for (word, id) in pairs {
                put(word, id).map_err(|why| format!("\"{}\": {why}", clean(word)))?;
            }
        }
        LookupFrom::File { path, from, to } => {
            read_file(path, from, to, &mut put).map_err(|why| format!("{}: {why}", path.display()))?;
        }
    }
    if table.is_empty() {
        Err("the table is empty; fill it in, or leave it out".to_owned())
    } else {
        Ok(table)
    }
}

fn read_file(
    path: &Path,
    from: &str,
    to: &str,
    put: &mut dyn FnMut(&str, &str) -> Result<(), String>,
) -> Result<(), String> {
    let mut file = File::open(path).map_err(|error| format!("failed to read it: {}", explained(&error)))?;
    let told = |error: Error| error.to_string();
    // As an input is read: packed or with a byte order mark, private while it is there, removed at the end.
    let taken = spool::take(&mut file, &std::env::temp_dir()).map_err(told)?;
    let knows = |name: &str| is(name, from) || is(name, to);
    let delimiter = Records::detect_delimiter(taken.file.path(), &knows).map_err(told)?;
    let layout = Layout { format: Format::Csv, delimiter, bom: false };
    let mut records = Records::open(taken.file.path(), &layout).map_err(told)?;
    let names = records.header().map(|header| header.names().to_vec()).unwrap_or_default();
    let column = |key: &str, wanted: &str| {
        names.iter().position(|name| is(name, wanted)).ok_or_else(|| {
            let hint = closest(wanted, names.iter().map(String::as_str))
                .map_or_else(String::new, |close| format!("; did you mean {key} = \"{}\"?", clean(close)));
            let there = listed(names.iter().map(String::as_str));
            format!(
                "there is no column \"{}\", which {key} names{hint}; the columns are {there}",
                clean(wanted)
            )
        })
    };
    let (from, to) = (column("from", from)?, column("to", to)?);
    let mut record = Record::new();
    while records.next(&mut record).map_err(told)? {
        let Body::Csv(cells) = record.body() else { continue };
        let cell = |index: usize| {
            let cell = cells.get(index).ok_or("the row has too few cells; add those that are missing")?;
            str::from_utf8(cell).map_err(|_| "the text is not UTF-8; save the file as UTF-8")
        };
        let line = record.line();
        let trouble = |why: &str| format!("line {line}: {why}");
        put(cell(from).map_err(trouble)?, cell(to).map_err(trouble)?).map_err(|why| trouble(&why))?;
    }
    Ok(())
}

/// Whether a column has this name.
fn is(name: &str, wanted: &str) -> bool {
    name.trim().to_lowercase() == wanted.trim().to_lowercase()
}
