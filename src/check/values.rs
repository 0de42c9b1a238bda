//! The values of one field that are told apart, each with its count.
//!
//! Every row looks up each of its values, so this is a table for that alone: it never grows, nothing is ever taken out, and
//! the value of the row before is tried first.

use std::hash::{BuildHasher as _, Hasher as _};

use foldhash::fast::RandomState;

use super::tally::{Count, VALUES_MAX};

/// Above three times the values, so that a look-up seldom goes further than the first place.
const PLACES: usize = 1_024;

/// A table of at most [`VALUES_MAX`] values.
#[derive(Debug, Default)]
pub(super) struct Values {
    /// In order of first appearance.
    known: Vec<(Box<str>, Count)>,
    /// At the place of a value's hash, or the next free one, its number in `known`, from 1; empty without a value.
    places: Vec<u16>,
    /// Where the value of the row before is in `known`.
    last: usize,
    state: RandomState,
}

impl Values {
    /// One more row of this value; false if it is not known and there is no room for it.
    pub(super) fn count(&mut self, text: &str, line: u64) -> bool {
        if let Some((known, count)) = self.known.get_mut(self.last)
            && **known == *text
        {
            count.rows += 1;
            return true;
        }
        if self.places.is_empty() {
            self.places.resize(PLACES, 0);
        }
        let mut hasher = self.state.build_hasher();
        hasher.write(text.as_bytes());
        let mut at = usize::try_from(hasher.finish() % PLACES as u64).unwrap_or_default();
        while let Some(place) = self.places.get_mut(at) {
            let Some(index) = usize::from(*place).checked_sub(1) else {
                if self.known.len() >= VALUES_MAX {
                    return false;
                }
                self.known.push((text.into(), Count { rows: 1, first_line: line }));
                *place = u16::try_from(self.known.len()).unwrap_or_default();
                return true;
            };
            if let Some((known, count)) = self.known.get_mut(index)
                && **known == *text
            {
                count.rows += 1;
                self.last = index;
                return true;
            }
            at = (at + 1) % PLACES;
        }
        false
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Each with its count, in order of first appearance.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, Count)> {
        self.known.iter().map(|(value, count)| (value.as_ref(), *count))
    }
}
