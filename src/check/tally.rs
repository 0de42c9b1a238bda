//! How many rows set which field, and to what.
//!
//! The first different values of a field are counted one by one, so that a wrong owner shows; the others as a whole.
//! A row costs a look-up for each of its fields and, once its values are known, no allocation.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::values::Values;
use crate::ticket::{Field, Value};

/// How many values of a field are told apart.
pub const VALUES_MAX: usize = 300;

/// A longer value is text that nobody would count, in bytes.
const VALUE_BYTES_MAX: usize = 200;

/// How many custom fields are told apart.
const CUSTOM_FIELDS_MAX: usize = 100;

type Map<K, V> = HashMap<K, V, RandomState>;

/// A value, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Rows that set it.
    pub rows: u64,
    /// The line of the first of them.
    pub first_line: u64,
}

/// The counts of one field.
#[derive(Debug, Default)]
pub struct FieldTally {
    /// Rows that set it.
    pub rows: u64,
    /// Rows whose values are not told apart.
    pub others: u64,
    values: Values,
}

impl FieldTally {
    fn add(&mut self, value: Value<'_>, line: u64) {
        let (Value::Text(text) | Value::Json(text)) = value;
        self.rows += 1;
        if text.len() <= VALUE_BYTES_MAX && self.values.count(text, line) {
            return;
        }
        self.others += 1;
    }

    /// How many different values were told apart.
    #[must_use]
    pub fn distinct(&self) -> usize {
        self.values.len()
    }

    /// The values that were told apart, the most frequent first, then by where they stand.
    #[must_use]
    pub fn by_frequency(&self) -> Vec<(&str, Count)> {
        let mut all: Vec<(&str, Count)> = self.values.iter().collect();
        all.sort_unstable_by(|(one, a), (other, b)| {
            b.rows.cmp(&a.rows).then(a.first_line.cmp(&b.first_line)).then(one.cmp(other))
        });
        all
    }
}

/// The counts of all fields.
#[derive(Debug, Default)]
pub struct Tally {
    standard: [FieldTally; Field::STANDARD.len()],
    custom: Vec<(String, FieldTally)>,
    by_id: Map<String, usize>,
    /// Where the custom field is that was last met.
    last_custom: usize,
    /// Values of custom fields that are not told apart, because there are too many of them.
    pub left_out: u64,
}

impl Tally {
    /// One more row, which begins on this line.
    pub fn add<'a>(&mut self, values: impl Iterator<Item = (Field<'a>, Value<'a>)>, line: u64) {
        values.for_each(|(field, value)| {
            if let Some(tally) = self.of(field) {
                tally.add(value, line);
            } else {
                self.left_out += 1;
            }
        });
    }

    fn of(&mut self, field: Field<'_>) -> Option<&mut FieldTally> {
        let Field::Custom(id) = field else {
            return self.standard.get_mut(field.standard_index()?);
        };
        // The rows of a CSV have them in one order.
        let next = if self.last_custom + 1 < self.custom.len() { self.last_custom + 1 } else { 0 };
        let index = match self.custom.get(next) {
            Some((known, _)) if known == id => next,
            _ => self.place_of(id)?,
        };
        self.last_custom = index;
        self.custom.get_mut(index).map(|(_, tally)| tally)
    }

    /// Where a custom field is, or will be from now on; `None`: there are too many.
    fn place_of(&mut self, id: &str) -> Option<usize> {
        match self.by_id.get(id) {
            Some(index) => Some(*index),
            None if self.custom.len() < CUSTOM_FIELDS_MAX => {
                self.by_id.insert(id.to_owned(), self.custom.len());
                self.custom.push((id.to_owned(), FieldTally::default()));
                Some(self.custom.len() - 1)
            }
            None => None,
        }
    }

    /// Each field that is set by some row, with its name.
    pub fn fields(&self) -> impl Iterator<Item = (Field<'_>, &FieldTally)> {
        let standard = Field::STANDARD.into_iter().zip(&self.standard);
        let custom = self.custom.iter().map(|(id, tally)| (Field::Custom(id), tally));
        standard.chain(custom).filter(|(_, tally)| tally.rows > 0)
    }
}
