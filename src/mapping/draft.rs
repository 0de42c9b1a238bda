//! An update in the making: one value after the other is put in, then it is an update or a complaint.
//!
//! CSV cells, JSON values and `--set` all pass here, so that a field has one set of rules. The complaints are
//! fragments without a place: who calls knows the line and the column.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::lookup::{Blank, Rules};
use super::{Origin, Target, short};
use crate::input::jsonl::Key;
use crate::input::spoiled;
use crate::ticket::{Changes, CustomField, CustomValue, Field, Priority, TicketId, Value};

/// So many custom fields of a row are compared with each other; more are sorted.
const COMPARED_MAX: usize = 16;

/// What is known of a row so far, borrowed from the row and the mapping wherever the text stands there as it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft<'a> {
    pub(super) ticket: Option<TicketId>,
    priority: Option<Priority>,
    /// In the order of [`Field::STANDARD`]; the priority stands in a place of its own.
    texts: [Option<Cow<'a, str>>; Field::STANDARD.len()],
    custom: Vec<Custom<'a>>,
    run: Option<u64>,
    row: Option<u64>,
}

/// A custom field's id and value.
#[derive(Clone, Debug)]
struct Custom<'a> {
    id: Cow<'a, str>,
    value: CustomText<'a>,
}

/// The value of a custom field, as [`CustomValue`] keeps it.
#[derive(Clone, Debug)]
enum CustomText<'a> {
    Text(Cow<'a, str>),
    Json(Cow<'a, RawValue>),
}

impl CustomText<'_> {
    fn borrow(&self) -> CustomText<'_> {
        match self {
            Self::Text(text) => CustomText::Text(Cow::Borrowed(text)),
            Self::Json(json) => CustomText::Json(Cow::Borrowed(json)),
        }
    }

    fn to_value(&self) -> CustomValue {
        match self {
            Self::Text(text) => CustomValue::Text(text.as_ref().to_owned()),
            Self::Json(json) => CustomValue::Json(json.as_ref().to_owned()),
        }
    }

    fn into_owned(self) -> CustomText<'static> {
        match self {
            Self::Text(text) => CustomText::Text(Cow::Owned(text.into_owned())),
            Self::Json(json) => CustomText::Json(Cow::Owned(json.into_owned())),
        }
    }
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

impl<'a> Draft<'a> {
    /// Begins with what another one has, which is not copied.
    pub(super) fn from_base(base: &'a Draft<'a>) -> Self {
        let Draft { ticket, priority, texts, custom, run, row } = base;
        let custom = custom.iter().map(|field| Custom { id: Cow::Borrowed(&field.id), value: field.value.borrow() });
        Self {
            ticket: *ticket,
            priority: *priority,
            texts: texts.each_ref().map(|text| text.as_deref().map(Cow::Borrowed)),
            custom: custom.collect(),
            run: *run,
            row: *row,
        }
    }

    /// Each field that is set, as [`Changes::iter`] gives them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Field<'_>, Value<'_>)> {
        let texts = Field::STANDARD.into_iter().zip(&self.texts);
        let standard = texts.filter_map(|(field, text)| {
            let text = match field {
                Field::Priority => self.priority?.as_str(),
                _ => text.as_deref()?,
            };
            Some((field, Value::Text(text)))
        });
        let custom = self.custom.iter().map(|field| {
            let value = match &field.value {
                CustomText::Text(text) => Value::Text(text),
                CustomText::Json(json) => Value::Json(json.get()),
            };
            (Field::Custom(&field.id), value)
        });
        standard.chain(custom)
    }

    /// Whether no field is set.
    pub(super) fn is_empty(&self) -> bool {
        self.priority.is_none() && self.custom.is_empty() && self.texts.iter().all(Option::is_none)
    }

    /// The same as a ticket's changes, which borrow nothing.
    pub(super) fn changes(&self) -> Changes {
        let [email, name, phone, subject, description, staff, _, inbox] =
            self.texts.each_ref().map(|text| text.as_deref().map(str::to_owned));
        let custom = self.custom.iter();
        let custom_fields =
            custom.map(|Custom { id, value }| CustomField { id: id.as_ref().to_owned(), value: value.to_value() });
        Changes {
            email,
            name,
            phone,
            subject,
            description,
            staff,
            priority: self.priority,
            inbox,
            custom_fields: custom_fields.collect(),
        }
    }

    /// Puts the text of a cell or a JSON string in. Blank text leaves the field alone, unless the rules say otherwise.
    pub(super) fn put_text(
        &mut self,
        target: Cow<'a, Target>,
        text: Cow<'a, str>,
        rules: &'a Rules,
    ) -> Result<(), String> {
        if text.contains('\0') {
            return Err("the text holds a NUL character; take it out".to_owned());
        }
        self.put_clean(target, text, rules)
    }

    /// As [`Draft::put_text`], a text that is known to hold no NUL.
    pub(super) fn put_clean(
        &mut self,
        target: Cow<'a, Target>,
        text: Cow<'a, str>,
        rules: &'a Rules,
    ) -> Result<(), String> {
        if *target == Target::Ticket {
            self.ticket = Some(parse_short(trim(&text), TicketId::parse)?);
            return Ok(());
        }
        if trim(&text).is_empty() {
            return self.put_blank(target, rules);
        }
        let text = rules.read(&target, text)?;
        match &*target {
            // Ticket ids were dealt with above.
            Target::Ticket => {}
            Target::Standard(field) => self.put_standard(*field, text)?,
            Target::CustomFields => self.put_elements(text, rules)?,
            Target::Custom(_) => self.put_custom(target, CustomText::Text(text)),
        }
        Ok(())
    }

    fn put_blank(&mut self, target: Cow<'a, Target>, rules: &Rules) -> Result<(), String> {
        match (rules.blank(&target), &*target) {
            (Some(Blank::Error), target) => {
                Err(format!("{target} is blank, which --blank {target}=error refuses; fill it in"))
            }
            (Some(Blank::Clear), Target::Standard(field)) => self.put_standard(*field, Cow::Borrowed("")),
            (Some(Blank::Clear), Target::Custom(_)) => {
                self.put_custom(target, CustomText::Text(Cow::Borrowed("")));
                Ok(())
            }
            // Clearing the last two is refused where it is typed.
            (None, _) | (Some(Blank::Clear), Target::Ticket | Target::CustomFields) => Ok(()),
        }
    }

    fn put_standard(&mut self, field: Field<'static>, text: Cow<'a, str>) -> Result<(), String> {
        let text = match field {
            Field::Priority => {
                self.priority = Some(parse_short(trim(&text), Priority::parse)?);
                return Ok(());
            }
            Field::Email | Field::Staff | Field::Inbox => trimmed(text),
            _ => text,
        };
        if let Some(place) = field.standard_index().and_then(|index| self.texts.get_mut(index)) {
            *place = Some(text);
        }
        Ok(())
    }

    /// Puts a JSON value in. `null` is a blank cell.
    pub(super) fn put_json(
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
                self.put_custom(target, CustomText::Json(Cow::Borrowed(value)));
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
    fn put_elements(&mut self, json: Cow<'a, str>, rules: &'a Rules) -> Result<(), String> {
        let json = match json {
            Cow::Borrowed(json) => json,
            Cow::Owned(json) => {
                // Nothing can be borrowed from a text that ends here.
                let mut draft = Draft::default();
                draft.put_elements(Cow::Borrowed(&json), rules)?;
                let fields = draft.custom.into_iter();
                self.custom.extend(fields.map(|Custom { id, value }| Custom {
                    id: Cow::Owned(id.into_owned()),
                    value: value.into_owned(),
                }));
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

    /// The target is a custom field.
    fn put_custom(&mut self, target: Cow<'a, Target>, value: CustomText<'a>) {
        let id = match target {
            Cow::Borrowed(Target::Custom(id)) => Cow::Borrowed(id.as_str()),
            Cow::Owned(Target::Custom(id)) => Cow::Owned(id),
            Cow::Borrowed(_) | Cow::Owned(_) => return,
        };
        self.custom.push(Custom { id, value });
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
        let fields = &self.custom;
        let mut pairs = fields.iter().enumerate().flat_map(|(at, one)| fields.iter().skip(at + 1).map(move |other| (one, other)));
        if fields.len() <= COMPARED_MAX && !pairs.any(|(one, other)| one.id.eq_ignore_ascii_case(&other.id)) {
            return None;
        }
        // Sorted, because a record of a MiB has room for many.
        let mut ids: Vec<(String, &str)> =
            fields.iter().map(|field| (field.id.to_ascii_lowercase(), field.id.as_ref())).collect();
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

/// As [`trim`], of a text that may be owned.
fn trimmed(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(trim(text)),
        Cow::Owned(text) if trim(&text).len() < text.len() => Cow::Owned(trim(&text).to_owned()),
        owned @ Cow::Owned(_) => owned,
    }
}

/// A JSON string's text.
pub(super) fn string(json: &str) -> Result<Cow<'_, str>, String> {
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

/// Parses; a complaint quotes no more of the text than fits a line.
fn parse_short<T>(text: &str, parse: fn(&str) -> Result<T, String>) -> Result<T, String> {
    parse(text).map_err(|_| match parse(&short(text)) {
        Err(complaint) => complaint,
        Ok(_) => "the text holds characters that cannot be seen; type it anew".to_owned(),
    })
}
