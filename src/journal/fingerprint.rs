//! What the journal remembers of an update once its row is gone: which fields, and a digest of each value.
//!
//! It answers three questions for later runs, "is this the same update?", "did a later row set all of these
//! fields?" and "does the ticket have these values already?", without keeping the values, which are personal data. Six
//! bytes a value: two different values are taken for equal once in 2^48 comparisons.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use crate::ticket::{Changes, Field, TicketId, Value};

/// Bytes kept of each value's digest.
pub(super) const DIGEST_BYTES: usize = 6;

/// The custom fields of a run, in the order in which its input first names them. It never changes once the run
/// is open, because the bits of every [`Fingerprint`] count from it.
#[derive(Clone, Debug, Default)]
pub struct FieldBits {
    custom: Vec<String>,
    by_id: HashMap<String, usize>,
}

impl FieldBits {
    /// Takes the custom fields that the run's rows name.
    #[must_use]
    pub fn new(custom: Vec<String>) -> Self {
        let by_id = custom.iter().enumerate().map(|(index, id)| (id.clone(), index)).collect();
        Self { custom, by_id }
    }

    /// Takes in the custom fields of one more row, in their order.
    pub(super) fn learn(&mut self, changes: &Changes) {
        for field in &changes.custom_fields {
            if !self.by_id.contains_key(&field.id) {
                self.by_id.insert(field.id.clone(), self.custom.len());
                self.custom.push(field.id.clone());
            }
        }
    }

    /// The custom fields, in order.
    #[must_use]
    pub fn custom(&self) -> &[String] {
        &self.custom
    }

    /// The field's bit; `None` for a custom field that the run does not know.
    fn bit(&self, field: Field<'_>) -> Option<usize> {
        match field {
            Field::Custom(id) => self.by_id.get(id).map(|index| Field::STANDARD.len() + index),
            standard => standard.standard_index(),
        }
    }
}

/// Whether a row's bits, as the journal keeps them, have this one.
pub(super) fn has_bit(bits: &[u8], bit: usize) -> bool {
    bits.get(bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
}

/// Numbers for the fields of all runs, whose bits count differently: one for all that no desk tells apart.
#[derive(Debug, Default)]
pub(super) struct FieldNumbers {
    custom: HashMap<String, usize>,
}

impl FieldNumbers {
    /// The number of each of a run's fields, in the order of its bits.
    pub(super) fn of(&mut self, custom: &[String]) -> Vec<usize> {
        let mut numbers: Vec<usize> = (0..Field::STANDARD.len()).collect();
        for id in custom {
            let next = Field::STANDARD.len() + self.custom.len();
            numbers.push(*self.custom.entry(id.to_ascii_lowercase()).or_insert(next));
        }
        numbers
    }
}

/// Which fields an update sets, as bits, and six bytes of digest for each, in the bits' order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    fields: Box<[u8]>,
    values: Box<[u8]>,
}

impl Fingerprint {
    /// Takes the print of an update. `None` if it names a custom field that the run does not know.
    #[must_use]
    pub fn of(changes: &Changes, bits: &FieldBits) -> Option<Self> {
        let mut set: Vec<(usize, [u8; DIGEST_BYTES])> = Vec::with_capacity(4);
        for (field, value) in changes.iter() {
            set.push((bits.bit(field)?, digest(field, value)));
        }
        set.sort_unstable_by_key(|(bit, _)| *bit);
        let length = set.last().map_or(0, |(bit, _)| bit / 8 + 1);
        let mut fields = vec![0_u8; length];
        let mut values = Vec::with_capacity(set.len() * DIGEST_BYTES);
        for (bit, digest) in set {
            if let Some(byte) = fields.get_mut(bit / 8) {
                *byte |= 1 << (bit % 8);
            }
            values.extend_from_slice(&digest);
        }
        Some(Self { fields: fields.into(), values: values.into() })
    }

    /// The bits as the journal keeps them.
    #[must_use]
    pub fn fields(&self) -> &[u8] {
        &self.fields
    }

    /// The digests as the journal keeps them.
    #[must_use]
    pub fn values(&self) -> &[u8] {
        &self.values
    }

    /// What makes two updates the same in whatever run: the ticket and every field with its value.
    #[must_use]
    pub fn same_update(&self, ticket: TicketId) -> SameUpdate {
        same_update(ticket, &self.values)
    }
}

/// Equal for rows of any run that ask the same of the same ticket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SameUpdate(TicketId, Box<[u8]>);

impl SameUpdate {
    /// Sixteen bytes that are equal where the updates are.
    pub(super) fn short(&self) -> Vec<u8> {
        let mut hasher = Sha256::new();
        hasher.update(self.0.get().to_be_bytes());
        hasher.update(&self.1);
        hasher.finalize().into_iter().take(16).collect()
    }

    /// Whether `other` asks the same ticket for all of this, and perhaps for more.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        // Both are sorted, so what was passed over need not be looked at again.
        let mut others = other.1.chunks(DIGEST_BYTES);
        self.0 == other.0 && self.1.chunks(DIGEST_BYTES).all(|digest| others.any(|other| other == digest))
    }
}

/// As [`Fingerprint::same_update`], from what the journal kept. Each digest covers its field's name, so sorting
/// them makes runs comparable that number their custom fields differently.
pub(super) fn same_update(ticket: TicketId, values: &[u8]) -> SameUpdate {
    let mut digests: Vec<&[u8]> = values.chunks(DIGEST_BYTES).collect();
    digests.sort_unstable();
    SameUpdate(ticket, digests.concat().into())
}

pub(super) fn digest(field: Field<'_>, value: Value<'_>) -> [u8; DIGEST_BYTES] {
    let mut hasher = Sha256::new();
    match field {
        Field::Custom(id) => {
            hasher.update(b"custom_fields.");
            // No desk tells ids apart by case (see `Target::same_field`), so one field has one digest.
            hasher.update(id.to_ascii_lowercase());
        }
        standard => hasher.update(standard.word()),
    }
    // A name holds no NUL (mapping refuses it), so name and value cannot run into each other.
    match value {
        Value::Text(text) => {
            hasher.update(b"\0t");
            hasher.update(text);
        }
        Value::Json(json) => {
            hasher.update(b"\0j");
            hasher.update(json);
        }
    }
    let mut short = [0; DIGEST_BYTES];
    short.iter_mut().zip(hasher.finalize()).for_each(|(to, from)| *to = from);
    short
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ticket::{CustomField, CustomValue, Priority};

    fn custom(id: &str, value: &str) -> CustomField {
        CustomField { id: id.to_owned(), value: CustomValue::Text(value.to_owned()) }
    }

    #[test]
    fn the_same_update_is_known_again_in_a_run_that_numbers_its_fields_otherwise() {
        let ticket = TicketId::parse("7").unwrap();
        let changes = Changes {
            priority: Some(Priority::High),
            custom_fields: vec![custom("CF1", "a"), custom("CF2", "b")],
            ..Changes::default()
        };
        let one = Fingerprint::of(&changes, &FieldBits::new(vec!["CF1".into(), "CF2".into()])).unwrap();
        let other =
            Fingerprint::of(&changes, &FieldBits::new(vec!["CF9".into(), "CF2".into(), "CF1".into()]))
                .unwrap();
        assert_ne!(one, other);
        assert_eq!(one.same_update(ticket), other.same_update(ticket));
        let swapped =
            Changes { custom_fields: vec![custom("CF1", "b"), custom("CF2", "a")], ..changes.clone() };
        let bits = FieldBits::new(vec!["CF1".into(), "CF2".into()]);
        assert_ne!(Fingerprint::of(&swapped, &bits).unwrap().same_update(ticket), one.same_update(ticket));
    }

    #[test]
    fn the_case_of_a_custom_fields_id_makes_no_other_update() {
        let ticket = TicketId::parse("7").unwrap();
        let print = |id: &str, value: &str| {
            let changes = Changes { custom_fields: vec![custom(id, value)], ..Changes::default() };
            Fingerprint::of(&changes, &FieldBits::new(vec![id.to_owned()])).unwrap().same_update(ticket)
        };
        assert_eq!(print("CF007-07a", "Micro"), print("cf007-07A", "Micro"));
        assert_ne!(print("CF007-07a", "Micro"), print("CF007-07a", "micro"));
    }

    #[test]
    fn an_update_is_within_another_that_sets_its_fields_to_the_same_values() {
        let update = |ticket: &str, fields: &[(&str, &str)]| {
            let custom_fields = fields.iter().map(|(id, value)| custom(id, value)).collect();
            let bits = FieldBits::new(fields.iter().map(|(id, _)| (*id).to_owned()).collect());
            let changes = Changes { custom_fields, ..Changes::default() };
            let ticket = TicketId::parse(ticket).unwrap();
            Fingerprint::of(&changes, &bits).unwrap().same_update(ticket)
        };
        let all = update("7", &[("CF1", "a"), ("CF2", "b"), ("CF3", "c")]);
        for fewer in [&[("CF1", "a")][..], &[("CF3", "c"), ("CF1", "a")], &[("CF2", "b")]] {
            assert!(update("7", fewer).is_within(&all), "{fewer:?}");
            assert!(!all.is_within(&update("7", fewer)), "{fewer:?}");
        }
        assert!(all.is_within(&all));
        assert!(!update("7", &[("CF1", "b")]).is_within(&all));
        assert!(!update("7", &[("CF1", "a"), ("CF4", "d")]).is_within(&all));
        assert!(!update("8", &[("CF1", "a")]).is_within(&all));
    }

    #[test]
    fn a_custom_field_that_the_run_does_not_know_has_no_print() {
        let changes = Changes { custom_fields: vec![custom("CF1", "a")], ..Changes::default() };
        assert!(Fingerprint::of(&changes, &FieldBits::default()).is_none());
    }

    #[test]
    fn one_field_takes_one_byte_and_six() {
        let changes = Changes { staff: Some("ST007-009".into()), ..Changes::default() };
        let print = Fingerprint::of(&changes, &FieldBits::default()).unwrap();
        assert_eq!((print.fields().len(), print.values().len()), (1, 6));
    }

    fn field() -> impl Strategy<Value = (u8, String)> {
        (0..6_u8, "[ab\0]{0,2}")
    }

    /// Standard fields from the low numbers, custom ones from the others. A later value replaces an earlier one.
    fn changes(fields: &[(u8, String)]) -> Changes {
        let mut changes = Changes::default();
        for (number, text) in fields {
            match number {
                0 => changes.name = Some(text.clone()),
                1 => changes.subject = Some(text.clone()),
                number => {
                    changes.custom_fields.retain(|field| field.id != number.to_string());
                    changes.custom_fields.push(custom(&number.to_string(), text));
                }
            }
        }
        changes
    }

    proptest! {
        #[test]
        fn updates_are_the_same_exactly_when_their_fields_are_however_bits_are_numbered(
            one in prop::collection::vec(field(), 1..5),
            other in prop::collection::vec(field(), 1..5),
            order in Just(vec!["2", "3", "4", "5"]).prop_shuffle(),
        ) {
            let ticket = TicketId::parse("7").unwrap();
            let (one, other) = (changes(&one), changes(&other));
            let straight = FieldBits::new(["2", "3", "4", "5"].map(str::to_owned).to_vec());
            let shuffled = FieldBits::new(order.into_iter().map(str::to_owned).collect());
            let known = |changes: &Changes, bits| {
                let print = Fingerprint::of(changes, bits).unwrap();
                prop_assert_eq!(print.values().len(), changes.iter().count() * DIGEST_BYTES);
                let ones: u32 = print.fields().iter().map(|byte| byte.count_ones()).sum();
                prop_assert_eq!(ones as usize, changes.iter().count());
                Ok(print.same_update(ticket))
            };
            let sorted = |changes: &Changes| {
                let mut fields: Vec<String> = changes.iter().map(|field| format!("{field:?}")).collect();
                fields.sort();
                fields
            };
            let is_same = known(&one, &straight)? == known(&other, &shuffled)?;
            prop_assert_eq!(is_same, sorted(&one) == sorted(&other));
        }
    }
}
