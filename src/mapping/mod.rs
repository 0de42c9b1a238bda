//! Row to update: which column or key is which field, and what each row asks for.
//!
//! | Module | Its one job |
//! |---|---|
//! | [`target`] | the names of the fields |
//! | [`spec`] | what was said with `--map`, `--set`, `--ignore` |
//! | [`lookup`] | tables from words to ids; what blank cells mean |
//! | `columns` | what each name of an input means, and the complaint where it means nothing |
//! | `draft` | one value after the other, then an update |
//! | `json` | values of JSON, put into a draft |
//!
//! This reads no file and sends nothing. There are two grades of trouble: with a row, which becomes invalid and
//! harms no other; and with the input, which cannot be used at all, because a column that means nothing would
//! mean nothing in every row. Each complaint knows its line and column, and ends with what to do.

mod columns;
mod draft;
mod json;
pub mod lookup;
pub mod spec;
pub mod target;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use columns::{Names, Use};
pub(crate) use columns::{OWN_ROW, OWN_RUN, is_own};
use draft::{Draft, is_trimmed};
use json::put_member;
pub use lookup::{Blank, Lookup, Miss};
use lookup::{NO_RULES, Rules};
use memchr::memchr;
use serde_json::value::RawValue;
pub use spec::{MappingSpec, parse_map, parse_set};
pub use target::Target;

use crate::error::Error;
use crate::input::jsonl::Object;
use crate::input::spoiled;
use crate::input::{Body, Header, Record, Row, RowBody};
use crate::text::clean_to;
use crate::ticket::{Field, TicketId, TicketUpdate, Value};

/// How much of a cell a message quotes, in characters.
const QUOTED_CHARS_MAX: usize = 60;

/// Where a row of a result file was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The run's number.
    pub run: u64,
    /// The row's number in that run.
    pub row: u64,
}

/// What a row asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// The update.
    pub update: TicketUpdate,
    /// Where the row was before, if it comes from a result file.
    pub origin: Option<Origin>,
}

/// What a row asks for, borrowed from the row: a first pass looks at every one and sends none, so it copies no text.
#[derive(Clone, Copy, Debug)]
pub struct Asks<'a> {
    ticket: TicketId,
    /// It sets a field at least.
    fields: &'a Draft<'a>,
}

/// Where rows are read into, one after the other.
#[derive(Debug, Default)]
pub struct Room<'a>(Draft<'a>);

impl<'a> Asks<'a> {
    /// Which ticket.
    #[must_use]
    pub const fn ticket(&self) -> TicketId {
        self.ticket
    }

    /// Each field that is set: of a CSV in the order of the columns, else in that of [`Field::STANDARD`], custom ones last.
    pub fn iter(&self) -> impl Iterator<Item = (Field<'a>, Value<'a>)> + use<'a> {
        self.fields.iter()
    }

    /// How many of these are custom fields.
    #[must_use]
    pub const fn custom(&self) -> usize {
        self.fields.custom()
    }

    /// The update itself, to be kept.
    #[must_use]
    pub fn update(&self) -> Option<TicketUpdate> {
        TicketUpdate::new(self.ticket, self.fields.changes())
    }
}

/// Why a row gives no update.
#[derive(Debug)]
pub enum Complaint {
    /// The row is invalid.
    Row(Trouble),
    /// The whole input cannot be used.
    Input(Error),
}

/// What is wrong with a row, and where. Its text says both, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The line on which the row begins, from 1.
    pub line: u64,
    /// Where in the row.
    pub at: At,
    /// What is wrong, and what to do: a fragment without the place.
    pub what: String,
}

/// Where in a row something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// The row as a whole.
    Row,
    /// A cell: its column, from 1, and what that is called, made harmless.
    Column(usize, String),
    /// The same in a spreadsheet, where people call it by letters.
    Cell(usize, String),
    /// A member of a JSONL object: its key, made harmless.
    Key(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, at, what } = self;
        match at {
            At::Row => write!(f, "line {line}: {what}"),
            At::Column(column, name) => write!(f, "line {line}, column {column} ({name}): {what}"),
            At::Cell(column, name) => write!(f, "cell {}{line} ({name}): {what}", letters(*column)),
            At::Key(key) => write!(f, "line {line}, key \"{key}\": {what}"),
        }
    }
}

/// A mapping made for one input.
#[derive(Clone, Debug)]
pub struct Mapping {
    names: Names,
    /// What each column of a CSV means, with its name; empty for JSONL.
    columns: Vec<(Use, String)>,
    /// What `--set` gives every row.
    base: Draft<'static>,
    /// What is done with texts and blanks.
    rules: Rules,
    /// Whether the input is a spreadsheet.
    is_sheet: bool,
}

impl Mapping {
    /// Makes the mapping for a CSV's header, or for JSONL, whose keys are looked at row by row.
    pub fn resolve(spec: &MappingSpec, header: Option<&Header>) -> Result<Self, Error> {
        let names = Names::new(spec)?;
        let mut base = Draft::default();
        for (target, value) in &spec.set {
            let put = spec::check_set(target, value).and_then(|()| {
                base.put_text(Cow::Owned(target.clone()), Cow::Owned(value.clone()), &NO_RULES)
            });
            put.map_err(|trouble| Error::Usage(format!("--set {trouble}")))?;
        }
        if let Some(id) = base.repeated_custom() {
            return Err(Error::Usage(format!(
                "--set gives the custom field {} twice; leave one out",
                short(id)
            )));
        }
        let columns = header.map(|header| names.columns(header)).transpose()?.unwrap_or_default();
        let rules = Rules { lookup: spec.lookup.clone(), blank: spec.blank.clone() };
        Ok(Self { names, columns, base, rules, is_sheet: header.is_some_and(Header::is_sheet) })
    }

    /// What a row asks for, to be kept.
    pub fn update(&self, record: &Record) -> Result<Mapped, Complaint> {
        let (line, mut draft) = (record.line(), Draft::default());
        draft.begin(&self.base);
        match record.body() {
            Body::Csv(cells) => {
                let text = str::from_utf8(cells.as_slice()).ok();
                let clean = text.filter(|text| memchr(0, text.as_bytes()).is_none());
                self.put_cells(&mut draft, line, (cells.len(), cells.iter()), clean)?;
            }
            Body::Jsonl(text) => self.put_members(&mut draft, line, text)?,
        }
        finish(&draft).map_err(|what| row_trouble(line, what))
    }

    /// The same for a row that the first pass has found valid, with the same mapping and the same bytes. That it gives no
    /// update now is no fault of the row's.
    pub(crate) fn update_again(&self, record: &Record) -> Result<Mapped, Error> {
        self.update(record).map_err(|complaint| {
            let why = match complaint {
                Complaint::Row(trouble) => trouble.to_string(),
                Complaint::Input(error) => error.to_string(),
            };
            Error::Machine(format!(
                "row {} was valid when the run began and is not any more ({why}); this deskload reads it otherwise than \
                 the one that began the run: finish the run with that version",
                record.number()
            ))
        })
    }

    /// What a row asks for, to be looked at. It complains exactly where [`Mapping::update`] does.
    pub fn asks<'a, 'r>(&'a self, row: Row<'a>, room: &'r mut Room<'a>) -> Result<Asks<'r>, Complaint> {
        let (line, draft) = (row.line(), &mut room.0);
        draft.begin(&self.base);
        match row.body {
            RowBody::Csv(cells) => self.put_cells(draft, line, (cells.len(), cells.iter()), cells.clean)?,
            RowBody::Jsonl(text) => self.put_members(draft, line, text)?,
        }
        match whole(draft) {
            Ok(ticket) => Ok(Asks { ticket, fields: draft }),
            Err(what) => Err(row_trouble(line, what)),
        }
    }

    /// The texts of a row that no table resolves. For rows that are invalid: it reads the row again.
    #[must_use]
    pub fn misses(&self, row: Row<'_>) -> Vec<Miss> {
        if self.rules.lookup.is_empty() {
            return Vec::new();
        }
        let miss = |meaning: &Use, text: &str| {
            let Use::Field(target) = meaning else { return None };
            let why = self.rules.table(target)?.find(text).err().filter(|_| !text.trim().is_empty())?;
            Some(Miss { target: target.clone(), value: text.to_owned(), why })
        };
        match row.body {
            RowBody::Csv(cells) => {
                let columns = self.columns.iter().zip(cells.iter());
                columns.filter_map(|((meaning, _), cell)| miss(meaning, str::from_utf8(cell).ok()?)).collect()
            }
            RowBody::Jsonl(text) => {
                let members = Object::parse(text).map(|object| object.0).unwrap_or_default();
                let read = |(key, value): &(std::borrow::Cow<'_, str>, &RawValue)| {
                    let text: String = serde_json::from_str(value.get()).ok()?;
                    miss(&self.names.key(key).ok()?, &text)
                };
                members.iter().filter_map(read).collect()
            }
        }
    }

    /// Puts so many cells in. `clean` is the text of all of them, if it is known to be UTF-8 without NUL; else each is
    /// looked at by itself.
    fn put_cells<'a>(
        &'a self,
        draft: &mut Draft<'a>,
        line: u64,
        (count, cells): (usize, impl Iterator<Item = &'a [u8]>),
        clean: Option<&'a str>,
    ) -> Result<(), Complaint> {
        if count != self.columns.len() {
            let what = if self.is_sheet {
                // Rows that are too short were filled up.
                let (cell, last) = (letters(count), letters(self.columns.len()));
                format!(
                    "{cell}{line} holds something, and the header ends at {last}; name the column, or empty the cell"
                )
            } else {
                ragged(count, self.columns.len())
            };
            return Err(Complaint::Row(Trouble { line, at: At::Row, what }));
        }
        let is_plain = self.rules.is_empty();
        let mut rest = clean.unwrap_or_default();
        for (index, ((meaning, name), cell)) in self.columns.iter().zip(cells).enumerate() {
            // A character that two cells share is none: what follows it is looked at by itself, too.
            let (text, after) = rest.split_at_checked(cell.len()).unwrap_or_default();
            rest = after;
            if let (Use::Field(target), true) = (meaning, is_plain)
                && is_trimmed(text)
                && !text.starts_with('#')
            {
                draft.put_value(Cow::Borrowed(target), Cow::Borrowed(text), &self.rules)
            } else {
                put_cell(draft, meaning, cell, &self.rules)
            }
            .map_err(|what| {
                let at = if self.is_sheet { At::Cell } else { At::Column };
                Complaint::Row(Trouble { line, at: at(index + 1, short(name)), what })
            })?;
        }
        Ok(())
    }

    fn put_members<'a>(&'a self, draft: &mut Draft<'a>, line: u64, text: &'a [u8]) -> Result<(), Complaint> {
        let object =
            Object::parse(text).map_err(|what| Complaint::Row(Trouble { line, at: At::Row, what }))?;
        // The keys first: one that means nothing spoils the input, whatever else the row holds.
        let mut used = Vec::with_capacity(object.0.len());
        for (key, value) in &object.0 {
            let meaning = self.names.key(key).map_err(|trouble| {
                Complaint::Input(Error::Input(format!("line {line}, key \"{}\": {trouble}", short(key))))
            })?;
            used.push((meaning, key.as_ref(), *value));
        }
        let complain =
            |key: &str, what: String| Complaint::Row(Trouble { line, at: At::Key(short(key)), what });
        if let Some((key, what)) = self.names.clash(&used) {
            return Err(complain(key, what));
        }
        for (meaning, key, value) in used {
            put_member(draft, meaning, value, &self.rules).map_err(|what| complain(key, what))?;
        }
        draft.sort();
        Ok(())
    }
}

fn row_trouble(line: u64, what: String) -> Complaint {
    Complaint::Row(Trouble { line, at: At::Row, what })
}

/// Puts a cell in, whatever it holds.
fn put_cell<'a>(
    draft: &mut Draft<'a>,
    meaning: &'a Use,
    cell: &'a [u8],
    rules: &'a Rules,
) -> Result<(), String> {
    if *meaning == Use::Ignored {
        return Ok(());
    }
    let text = str::from_utf8(cell)
        .map_err(|_| {
            "the text is not UTF-8; save the file as UTF-8 (in Excel: \"CSV UTF-8\"), or name its encoding, in most \
             cases --encoding windows-1252"
                .to_owned()
        })?;
    match meaning {
        Use::Ignored => Ok(()),
        Use::Run => draft.put_run(text),
        Use::Row => draft.put_row(text),
        Use::Field(target) => match spoiled::complaint(text) {
            Some(what) => Err(what),
            None => draft.put_text(Cow::Borrowed(target), Cow::Borrowed(text), rules),
        },
    }
}

/// The ticket of a row that can be sent, or why it cannot be.
fn whole(draft: &Draft<'_>) -> Result<TicketId, String> {
    if let Some(id) = draft.repeated_custom() {
        return Err(format!("the custom field {} is given twice; leave one out", short(id)));
    }
    draft.origin()?;
    let ticket = draft.ticket.ok_or("the row has no ticket_id; every row needs one")?;
    if draft.is_empty() { Err(NOTHING.to_owned()) } else { Ok(ticket) }
}

fn finish(draft: &Draft<'_>) -> Result<Mapped, String> {
    let update = TicketUpdate::new(whole(draft)?, draft.changes()).ok_or(NOTHING)?;
    Ok(Mapped { update, origin: draft.origin()? })
}

const NOTHING: &str = "the row changes nothing, every field is blank; fill one in, or take the row out";

/// A spreadsheet's name of a column, from 1: A to Z, AA and so on.
pub(crate) fn letters(mut column: usize) -> String {
    let mut letters = Vec::new();
    while let Some(index) = column.checked_sub(1) {
        letters.push(b'A' + u8::try_from(index % 26).unwrap_or_default());
        column = index / 26;
    }
    letters.iter().rev().copied().map(char::from).collect()
}

fn ragged(cells: usize, columns: usize) -> String {
    let (what, advice) = if cells < columns {
        ("too few", "add the cells that are missing")
    } else {
        ("too many", "put text that holds the delimiter in quotes")
    };
    let s = if cells == 1 { "" } else { "s" };
    format!("the row has {what} cells, {cells} cell{s} where the header has {columns}; {advice}")
}

/// Somebody else's text, cleaned and short enough for a line.
pub(crate) fn short(text: &str) -> String {
    clean_to(text, QUOTED_CHARS_MAX)
}
