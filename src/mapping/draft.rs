//! An update in the making: one value after the other is put in, then it is an update or a complaint.
//!
//! CSV cells, JSON values ([`super::json`]) and `--set` all pass here, so that a field has one set of rules. The complaints are
//! fragments without a place: who calls knows the line and the column.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::lookup::{Blank, Rules};
use super::{Origin, Target, short};
use crate::ticket::{Changes, CustomField, CustomValue, Field, Priority, TicketId, Value};

/// So many custom fields of a row are compared with each other; more are sorted.
const COMPARED_MAX: usize = 16;

/// What is known of a row so far, borrowed from the row and the mapping wherever the text stands there as it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft<'a> {
    pub(super) ticket: Option<TicketId>,
    /// In the order in which they were put in; none twice, save custom fields.
    set: Vec<Set<'a>>,
    /// How many of them are custom fields.
    custom: usize,
    run: Option<u64>,
    row: Option<u64>,
}

/// A field that is set.
#[derive(Clone, Debug)]
struct Set<'a> {
    name: Name<'a>,
    value: Text<'a>,
}

#[derive(Clone, Debug)]
enum Name<'a> {
    Standard(Field<'static>),
    Custom(Cow<'a, str>),
}

/// A [`Value`] that is owned where it has to be.
#[derive(Clone, Debug)]
pub(super) enum Text<'a> {
    Text(Cow<'a, str>),
    Json(Cow<'a, RawValue>),
}

impl Set<'_> {
    fn field(&self) -> Field<'_> {
        match &self.name {
            Name::Standard(field) => *field,
            Name::Custom(id) => Field::Custom(id),
        }
    }

    fn value(&self) -> Value<'_> {
        match &self.value {
            Text::Text(text) => Value::Text(text),
            Text::Json(json) => Value::Json(json.get()),
        }
    }

    fn lent(&self) -> Set<'_> {
        Set {
            name: match &self.name {
                Name::Standard(field) => Name::Standard(*field),
                Name::Custom(id) => Name::Custom(Cow::Borrowed(id)),
            },
            value: match &self.value {
                Text::Text(text) => Text::Text(Cow::Borrowed(text)),
                Text::Json(json) => Text::Json(Cow::Borrowed(json)),
            },
        }
    }

    fn into_owned<'b>(self) -> Set<'b> {
        Set {
            name: match self.name {
                Name::Standard(field) => Name::Standard(field),
                Name::Custom(id) => Name::Custom(Cow::Owned(id.into_owned())),
            },
            value: match self.value {
                Text::Text(text) => Text::Text(Cow::Owned(text.into_owned())),
                Text::Json(json) => Text::Json(Cow::Owned(json.into_owned())),
            },
        }
    }
}

impl<'a> Draft<'a> {
    /// Begins anew, with what another one has, which is not copied.
    pub(super) fn begin(&mut self, base: &'a Draft<'a>) {
        self.set.clear();
        self.set.extend(base.set.iter().map(Set::lent));
        (self.ticket, self.custom) = (base.ticket, base.custom);
        (self.run, self.row) = (base.run, base.row);
    }

    /// Each field that is set, with its value.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Field<'_>, Value<'_>)> {
        self.set.iter().map(|set| (set.field(), set.value()))
    }

    /// Brings the fields into the order of [`Changes::iter`], for rows that have them in whatever order.
    pub(super) fn sort(&mut self) {
        self.set.sort_by_key(|set| set.field().standard_index().unwrap_or(usize::MAX));
    }

    /// How many of the fields are custom fields.
    pub(super) const fn custom(&self) -> usize {
        self.custom
    }

    /// Whether no field is set.
    pub(super) const fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// The same as a ticket's changes, which borrow nothing.
    pub(super) fn changes(&self) -> Changes {
        let mut changes = Changes::default();
        for (field, value) in self.iter() {
            let (Value::Text(text) | Value::Json(text)) = value;
            let text = || Some(text.to_owned());
            match field {
                Field::Email => changes.email = text(),
                Field::Name => changes.name = text(),
                Field::Phone => changes.phone = text(),
                Field::Subject => changes.subject = text(),
                Field::Description => changes.description = text(),
                Field::Staff => changes.staff = text(),
                Field::Priority => changes.priority = text().and_then(|text| Priority::parse(&text).ok()),
                Field::Inbox => changes.inbox = text(),
                Field::Custom(_) => {}
            }
        }
        let custom = self.set.iter().filter_map(|set| match (&set.name, &set.value) {
            (Name::Standard(_), _) => None,
            (Name::Custom(id), Text::Text(text)) => Some((id, CustomValue::Text(text.as_ref().to_owned()))),
            (Name::Custom(id), Text::Json(json)) => Some((id, CustomValue::Json(json.as_ref().to_owned()))),
        });
        changes.custom_fields =
            custom.map(|(id, value)| CustomField { id: id.as_ref().to_owned(), value }).collect();
        changes
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
        if *target == Target::Ticket {
            return self.put_value(target, text, rules);
        }
        if trim(&text).is_empty() {
            return self.put_blank(target, rules);
        }
        let text = rules.read(&target, text)?;
        self.put_value(target, text, rules)
    }

    /// Puts in what [`Draft::put_text`] would after all: a text without NUL, not blank, that no rule changes.
    #[inline]
    pub(super) fn put_value(
        &mut self,
        target: Cow<'a, Target>,
        text: Cow<'a, str>,
        rules: &'a Rules,
    ) -> Result<(), String> {
        match &*target {
            Target::Ticket => self.ticket = Some(parse_short(trim(&text), TicketId::parse)?),
            Target::Standard(field) => self.put_standard(*field, text)?,
            Target::CustomFields => self.put_elements(text, rules)?,
            Target::Custom(_) => self.put_custom(target, Text::Text(text)),
        }
        Ok(())
    }

    pub(super) fn put_blank(&mut self, target: Cow<'a, Target>, rules: &Rules) -> Result<(), String> {
        match (rules.blank(&target), &*target) {
            (Some(Blank::Error), target) => {
                Err(format!("{target} is blank, which --blank {target}=error refuses; fill it in"))
            }
            (Some(Blank::Clear), Target::Standard(field)) => self.put_standard(*field, Cow::Borrowed("")),
            (Some(Blank::Clear), Target::Custom(_)) => {
                self.put_custom(target, Text::Text(Cow::Borrowed("")));
                Ok(())
            }
            // Clearing the last two is refused where it is typed.
            (None, _) | (Some(Blank::Clear), Target::Ticket | Target::CustomFields) => Ok(()),
        }
    }

    #[inline]
    fn put_standard(&mut self, field: Field<'static>, text: Cow<'a, str>) -> Result<(), String> {
        let text = match field {
            Field::Priority => Cow::Borrowed(parse_short(trim(&text), Priority::parse)?.as_str()),
            Field::Email | Field::Staff | Field::Inbox => trimmed(text),
            _ => text,
        };
        self.set.push(Set { name: Name::Standard(field), value: Text::Text(text) });
        Ok(())
    }

    /// Adds the fields of another, whose texts end here.
    pub(super) fn take_over(&mut self, other: Draft<'_>) {
        self.custom += other.custom;
        self.set.extend(other.set.into_iter().map(Set::into_owned));
    }

    /// The target is a custom field.
    #[inline]
    pub(super) fn put_custom(&mut self, target: Cow<'a, Target>, value: Text<'a>) {
        let id = match target {
            Cow::Borrowed(Target::Custom(id)) => Cow::Borrowed(id.as_str()),
            Cow::Owned(Target::Custom(id)) => Cow::Owned(id),
            Cow::Borrowed(_) | Cow::Owned(_) => return,
        };
        self.custom += 1;
        self.set.push(Set { name: Name::Custom(id), value });
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
        if self.custom < 2 {
            return None;
        }
        let ids = self.set.iter().filter_map(|set| match &set.name {
            Name::Custom(id) => Some(id.as_ref()),
            Name::Standard(_) => None,
        });
        let mut pairs = ids
            .clone()
            .enumerate()
            .flat_map(|(at, one)| ids.clone().skip(at + 1).map(move |other| (one, other)));
        if self.custom <= COMPARED_MAX && !pairs.any(|(one, other)| one.eq_ignore_ascii_case(other)) {
            return None;
        }
        // Sorted, because a record of a MiB has room for many.
        let mut ids: Vec<(String, &str)> = ids.map(|id| (id.to_ascii_lowercase(), id)).collect();
        ids.sort_unstable();
        ids.windows(2).find_map(|pair| match pair {
            [(one, _), (other, id)] if one == other => Some(*id),
            _ => None,
        })
    }
}

/// As [`str::trim`], but quick where there is nothing to be taken off, which is nearly always.
pub(super) fn trim(text: &str) -> &str {
    if is_trimmed(text) { text } else { text.trim() }
}

/// Whether a text is seen at a glance not to be blank, nor to have blanks around it.
pub(super) fn is_trimmed(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_graphic) && bytes.last().is_some_and(u8::is_ascii_graphic)
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

/// Parses; a complaint quotes no more of the text than fits a line.
fn parse_short<T>(text: &str, parse: fn(&str) -> Result<T, String>) -> Result<T, String> {
    parse(text).map_err(|_| match parse(&short(text)) {
        Err(complaint) => complaint,
        Ok(_) => "the text holds characters that cannot be seen; type it anew".to_owned(),
    })
}
