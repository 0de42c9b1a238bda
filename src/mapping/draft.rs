//! An update in the making: one value after the other is put in, then it is an update or a complaint.
//!
//! CSV cells, JSON values and `--set` all pass here, so that a field has one set of rules. The complaints are
//! fragments without a place: who calls knows the line and the column.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::lookup::{Blank, Rules};
use super::{Origin, Target, short};
use crate::input::spoiled;
use crate::ticket::{Changes, CustomField, CustomValue, Field, Priority, TicketId};

/// What is known of a row so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft {
    pub(super) ticket: Option<TicketId>,
    changes: Changes,
    run: Option<u64>,
    row: Option<u64>,
}

/// One element of `custom_fields`; typed, so that a key that is missing, unknown or there twice is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Element<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    value: &'a RawValue,
}

impl Draft {
    pub(super) const fn changes(&self) -> &Changes {
        &self.changes
    }

    pub(super) fn into_changes(self) -> Changes {
        self.changes
    }

    /// Puts the text of a cell or a JSON string in. Blank text leaves the field alone, unless the rules say otherwise.
    pub(super) fn put_text(&mut self, target: &Target, text: &str, rules: &Rules) -> Result<(), String> {
        if text.contains('\0') {
            return Err("the text holds a NUL character; take it out".to_owned());
        }
        let trimmed = trim(text);
        if *target == Target::Ticket {
            self.ticket = Some(parse_short(trimmed, TicketId::parse)?);
            return Ok(());
        }
        if trimmed.is_empty() {
            return self.put_blank(target, rules);
        }
        let text = rules.read(target, text)?;
        let trimmed = trim(text);
        match target {
            // Ticket ids were dealt with above.
            Target::Ticket => {}
            Target::Standard(field) => self.put_standard(*field, text, trimmed)?,
            Target::CustomFields => self.put_elements(trimmed, rules)?,
            Target::Custom(id) => self.put_custom(id, CustomValue::Text(text.to_owned())),
        }
        Ok(())
    }

    fn put_blank(&mut self, target: &Target, rules: &Rules) -> Result<(), String> {
        match (rules.blank(target), target) {
            (Some(Blank::Error), _) => {
                Err(format!("{target} is blank, which --blank {target}=error refuses; fill it in"))
            }
            (Some(Blank::Clear), Target::Standard(field)) => self.put_standard(*field, "", ""),
            (Some(Blank::Clear), Target::Custom(id)) => {
                self.put_custom(id, CustomValue::Text(String::new()));
                Ok(())
            }
            // Clearing the last two is refused where it is typed.
            (None, _) | (Some(Blank::Clear), Target::Ticket | Target::CustomFields) => Ok(()),
        }
    }

    fn put_standard(&mut self, field: Field<'static>, text: &str, trimmed: &str) -> Result<(), String> {
        let changes = &mut self.changes;
        match field {
            Field::Email => changes.email = Some(trimmed.to_owned()),
            Field::Name => changes.name = Some(text.to_owned()),
            Field::Phone => changes.phone = Some(text.to_owned()),
            Field::Subject => changes.subject = Some(text.to_owned()),
            Field::Description => changes.description = Some(text.to_owned()),
            Field::Staff => changes.staff = Some(trimmed.to_owned()),
            Field::Priority => changes.priority = Some(parse_short(trimmed, Priority::parse)?),
            Field::Inbox => changes.inbox = Some(trimmed.to_owned()),
            Field::Custom(id) => self.put_custom(id, CustomValue::Text(text.to_owned())),
        }
        Ok(())
    }

    /// Puts a JSON value in. `null` is a blank cell.
    pub(super) fn put_json(
        &mut self,
        target: &Target,
        value: &RawValue,
        rules: &Rules,
    ) -> Result<(), String> {
        let json = value.get();
        if json == "null" {
            return self.put_blank(target, rules);
        }
        if json.starts_with('"') {
            let text = string(json)?;
            return spoiled::complaint(&text).map_or_else(|| self.put_text(target, &text, rules), Err);
        }
        if is_number(json) && rules.table(target).is_some() {
            return self.put_text(target, json, rules);
        }
        match target {
            Target::Custom(id) => {
                self.put_custom(id, CustomValue::Json(value.to_owned()));
                Ok(())
            }
            Target::CustomFields => self.put_elements(json, rules),
            Target::Ticket | Target::Standard(_) if is_number(json) => self.put_text(target, json, rules),
            Target::Ticket => Err(format!("a ticket id is a number, not {}; write digits", kind(json))),
            Target::Standard(_) => Err(format!("the value is {}; write text in quotes", kind(json))),
        }
    }

    /// `custom_fields` as a whole. A blank value leaves that field alone, as a blank cell does.
    fn put_elements(&mut self, json: &str, rules: &Rules) -> Result<(), String> {
        let elements = elements(json).ok_or_else(|| {
            "the value is not a JSON array of custom fields; \
             write it like [{\"id\":\"CF007-07\",\"value\":\"Micro\"}]"
                .to_owned()
        })?;
        for Element { id, value } in elements {
            let id = id.trim();
            if id.is_empty() || id.contains('\0') {
                return Err("a custom field has no proper id; write the one that the desk lists".to_owned());
            }
            self.put_json(&Target::Custom(id.to_owned()), value, rules)?;
        }
        Ok(())
    }

    fn put_custom(&mut self, id: &str, value: CustomValue) {
        self.changes.custom_fields.push(CustomField { id: id.to_owned(), value });
    }

    /// Puts `_deskload_run` in, as text or as a JSON number.
    pub(super) fn put_run(&mut self, text: &str) -> Result<(), String> {
        self.run = provenance(text)?;
        Ok(())
    }

    /// Puts `_deskload_row` in.
    pub(super) fn put_row(&mut self, text: &str) -> Result<(), String> {
        self.row = provenance(text)?;
        Ok(())
    }

    /// Where the row was before, if it comes from a result file. Half of it would let an old row overwrite
    /// newer data, so that is refused.
    pub(super) fn origin(&self) -> Result<Option<Origin>, String> {
        match (self.run, self.row) {
            (Some(run), Some(row)) => Ok(Some(Origin { run, row })),
            (None, None) => Ok(None),
            _ => Err("only one of _deskload_run and _deskload_row is there; keep both, or take both out"
                .to_owned()),
        }
    }

    /// The custom field that is set more than once, if any.
    pub(super) fn repeated_custom(&self) -> Option<&str> {
        let fields = &self.changes.custom_fields;
        if fields.len() < 2 {
            return None;
        }
        // Sorted, because a record of a MiB has room for many.
        let mut ids: Vec<(String, &str)> =
            fields.iter().map(|field| (field.id.to_ascii_lowercase(), field.id.as_str())).collect();
        ids.sort_unstable();
        ids.windows(2).find_map(|pair| match pair {
            [(one, _), (other, id)] if one == other => Some(*id),
            _ => None,
        })
    }
}

/// The elements of `custom_fields`. Each must be an object: a derived struct would take a list of its values, too.
fn elements(json: &str) -> Option<Vec<Element<'_>>> {
    let all: Vec<&RawValue> = serde_json::from_str(json).ok()?;
    let objects = all.into_iter().map(RawValue::get);
    objects.map(|json| serde_json::from_str(json).ok().filter(|_| json.starts_with('{'))).collect()
}

/// As [`str::trim`], but quick where there is nothing to be taken off, which is nearly always.
fn trim(text: &str) -> &str {
    let is_plain = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_graphic);
    let bytes = text.as_bytes();
    if is_plain(bytes.first()) && is_plain(bytes.last()) { text } else { text.trim() }
}

fn provenance(text: &str) -> Result<Option<u64>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        format!("\"{}\" is not a number as deskload writes it; leave these columns as they were", short(text))
    })
}

/// A JSON string's text.
pub(super) fn string(json: &str) -> Result<String, String> {
    serde_json::from_str(json)
        .map_err(|_| "the text holds half of a Unicode pair (\\uD800 to \\uDFFF); write it whole".to_owned())
}

/// Whether JSON that is known to be valid is a number.
fn is_number(json: &str) -> bool {
    json.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

fn kind(json: &str) -> &'static str {
    match json.bytes().next() {
        Some(b'[') => "a list",
        Some(b'{') => "an object",
        Some(b't' | b'f') => "true or false",
        _ => "something else",
    }
}

/// Parses; a complaint quotes no more of the text than fits a line.
fn parse_short<T>(text: &str, parse: fn(&str) -> Result<T, String>) -> Result<T, String> {
    parse(text).map_err(|_| match parse(&short(text)) {
        Err(complaint) => complaint,
        Ok(_) => "the text holds characters that cannot be seen; type it anew".to_owned(),
    })
}
