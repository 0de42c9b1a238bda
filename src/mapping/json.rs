//! Values of JSON, put into a draft: the members of a JSONL row, and what `custom_fields` holds in any input.
//!
//! A text goes the way of a cell's text, so that there is one set of rules. The complaints are fragments without a place, as
//! those of [`super::draft`].

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Target;
use super::columns::Use;
use super::draft::{Draft, Text, trim};
use super::lookup::Rules;
use crate::input::jsonl::Key;
use crate::input::spoiled;

/// One element of `custom_fields`; typed, so that a key that is missing, unknown or there twice is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Element<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    value: &'a RawValue,
}

/// Puts a member in, whatever it holds.
pub(super) fn put_member<'a>(
    draft: &mut Draft<'a>,
    meaning: Use,
    value: &'a RawValue,
    rules: &'a Rules,
) -> Result<(), String> {
    let json = value.get();
    let provenance = |json: &str| if json == "null" { String::new() } else { json.replace('"', "") };
    match meaning {
        Use::Ignored => Ok(()),
        Use::Run => draft.put_run(&provenance(json)),
        Use::Row => draft.put_row(&provenance(json)),
        Use::Field(target) => draft.put_json(Cow::Owned(target), value, rules),
    }
}

impl<'a> Draft<'a> {
    /// Puts a JSON value in. `null` is a blank cell.
    fn put_json(
        &mut self,
        target: Cow<'a, Target>,
        value: &'a RawValue,
        rules: &'a Rules,
    ) -> Result<(), String> {
        let json = value.get();
        if json == "null" {
            return self.put_blank(target, rules);
        }
        if json.starts_with('"') {
            let text = string(json)?;
            return spoiled::complaint(&text).map_or_else(|| self.put_text(target, text, rules), Err);
        }
        if is_number(json) && rules.table(&target).is_some() {
            return self.put_text(target, Cow::Borrowed(json), rules);
        }
        match &*target {
            Target::Custom(_) => {
                self.put_custom(target, Text::Json(Cow::Borrowed(value)));
                Ok(())
            }
            Target::CustomFields => self.put_elements(Cow::Borrowed(json), rules),
            Target::Ticket | Target::Standard(_) if is_number(json) => {
                self.put_text(target, Cow::Borrowed(json), rules)
            }
            Target::Ticket => Err(format!("a ticket id is a number, not {}; write digits", kind(json))),
            Target::Standard(_) => Err(format!("the value is {}; write text in quotes", kind(json))),
        }
    }

    /// `custom_fields` as a whole. A blank value leaves that field alone, as a blank cell does.
    pub(super) fn put_elements(&mut self, json: Cow<'a, str>, rules: &'a Rules) -> Result<(), String> {
        let json = match json {
            Cow::Borrowed(json) => json,
            Cow::Owned(json) => {
                // Nothing can be borrowed from a text that ends here.
                let mut draft = Draft::default();
                draft.put_elements(Cow::Borrowed(&json), rules)?;
                self.take_over(draft);
                return Ok(());
            }
        };
        let elements = elements(trim(json)).ok_or_else(|| {
            "the value is not a JSON array of custom fields; \
             write it like [{\"id\":\"CF007-07\",\"value\":\"Micro\"}]"
                .to_owned()
        })?;
        for Element { id, value } in elements {
            let id = id.trim();
            if id.is_empty() || id.contains('\0') {
                return Err("a custom field has no proper id; write the one that the desk lists".to_owned());
            }
            self.put_json(Cow::Owned(Target::Custom(id.to_owned())), value, rules)?;
        }
        Ok(())
    }
}

/// The elements of `custom_fields`. Each must be an object: a derived struct would take a list of its values, too.
fn elements(json: &str) -> Option<Vec<Element<'_>>> {
    let all: Vec<&RawValue> = serde_json::from_str(json).ok()?;
    let objects = all.into_iter().map(RawValue::get);
    objects.map(|json| serde_json::from_str(json).ok().filter(|_| json.starts_with('{'))).collect()
}

/// A JSON string's text.
fn string(json: &str) -> Result<Cow<'_, str>, String> {
    serde_json::from_str(json)
        .map(|Key(text)| text)
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
