//! Ids that look unlike the others: a name where an id should be, a digit that a spreadsheet took away.
//!
//! The vendor shows an example of each kind of id and no rule, so this warns and never refuses. A shape is the value
//! with `A`, `a` and `9` for its letters and digits. Every row is looked at before a run begins: one with the shape of the
//! row before costs a glance at its bytes.

use std::cmp::Reverse;

use super::survey::OddIds;
use crate::mapping::{Asks, short};
use crate::text::{rows, thousands};
use crate::ticket::{Field, Value};

/// How much of a value its shape tells of, in characters.
const SHAPE_CHARS_MAX: usize = 40;

/// How many shapes of one kind are told apart.
const SHAPES_MAX: usize = 60;

/// How many warnings one kind of id gives.
const WARNINGS_MAX: usize = 5;

/// A shape is odd if the usual one has so many times its rows.
const USUAL_TIMES: u64 = 3;

/// A kind of id, as the vendor's pages show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Staff,
    Inbox,
    CustomField,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Staff => "staff",
            Self::Inbox => "inbox",
            Self::CustomField => "custom field",
        }
    }

    /// The example of the vendor's pages.
    const fn example(self) -> &'static str {
        match self {
            Self::Staff => "ST007-009",
            Self::Inbox => "IB238-436",
            Self::CustomField => "CF007-07",
        }
    }

    /// How many rows these are in, where that is known: custom fields are counted by themselves.
    const fn rows(self, count: u64) -> Option<u64> {
        match self {
            Self::Staff | Self::Inbox => Some(count),
            Self::CustomField => None,
        }
    }

    /// The same in words.
    fn count(self, count: u64) -> String {
        match (self, count) {
            (Self::Staff | Self::Inbox, count) => rows(count),
            (Self::CustomField, 1) => "1 field".to_owned(),
            (Self::CustomField, count) => format!("{} fields", thousands(count)),
        }
    }

    /// Whether an id begins as the example does, with digits on both sides of its hyphen.
    fn is_like_example(self, text: &str) -> bool {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let rest = self.example().get(..2).and_then(|letters| text.strip_prefix(letters));
        rest.and_then(|rest| rest.split_once('-')).is_some_and(|(one, other)| digits(one) && digits(other))
    }
}

/// The ids of an input.
#[derive(Debug)]
pub(super) struct Ids {
    staff: Shapes,
    inbox: Shapes,
    custom_fields: Shapes,
}

impl Default for Ids {
    fn default() -> Self {
        Self {
            staff: Shapes::new(Kind::Staff),
            inbox: Shapes::new(Kind::Inbox),
            custom_fields: Shapes::new(Kind::CustomField),
        }
    }
}

impl Ids {
    /// Takes in the ids of a row that begins on this line, but for those of custom fields.
    pub(super) fn see(&mut self, asks: &Asks<'_>, line: u64) {
        asks.iter().for_each(|(field, value)| {
            let shapes = match field {
                Field::Staff => &mut self.staff,
                Field::Inbox => &mut self.inbox,
                _ => return,
            };
            let (Value::Text(text) | Value::Json(text)) = value;
            shapes.add(text, line);
        });
    }

    /// Takes in a custom field that was not met before.
    pub(super) fn see_custom_field(&mut self, id: &str, line: u64) {
        self.custom_fields.add(id, line);
    }

    /// What is odd among them.
    pub(super) fn odd(&self) -> Vec<OddIds> {
        [&self.staff, &self.inbox, &self.custom_fields].into_iter().flat_map(Shapes::odd).collect()
    }
}

#[derive(Debug)]
struct Like {
    shape: String,
    count: u64,
    example: String,
    first_line: u64,
}

/// The shapes of one kind of id.
#[derive(Debug)]
struct Shapes {
    kind: Kind,
    /// In order of first appearance.
    all: Vec<Like>,
    /// Where the shape is that was last met.
    last: usize,
    buffer: String,
}

impl Shapes {
    const fn new(kind: Kind) -> Self {
        Self { kind, all: Vec::new(), last: 0, buffer: String::new() }
    }

    /// One more of them, on this line or in a row that begins on it.
    fn add(&mut self, text: &str, first_line: u64) {
        if let Some(like) = self.all.get_mut(self.last)
            && is_of_shape(text, &like.shape)
        {
            like.count += 1;
            return;
        }
        shape_into(text, &mut self.buffer);
        if let Some(known) = self.all.iter().position(|like| like.shape == self.buffer) {
            self.last = known;
        } else if self.all.len() < SHAPES_MAX {
            self.last = self.all.len();
            let example = text.chars().take(SHAPE_CHARS_MAX).collect();
            self.all.push(Like { shape: self.buffer.clone(), count: 0, example, first_line });
        } else {
            return;
        }
        if let Some(like) = self.all.get_mut(self.last) {
            like.count += 1;
        }
    }

    /// What is odd among them, in words.
    fn odd(&self) -> Vec<OddIds> {
        let (kind, name, example) = (self.kind, self.kind.name(), self.kind.example());
        let usual = self.all.iter().max_by_key(|like| (like.count, Reverse(like.first_line)));
        let Some(usual) = usual else { return Vec::new() };
        if !self.all.iter().any(|like| kind.is_like_example(&like.example)) {
            let count = self.all.iter().map(|like| like.count).sum();
            let text = format!(
                "no {name} id looks like the one that the vendor shows, {example}, in {}: \"{}\" (line {}); a name or an \
                 e-mail is no id",
                kind.count(count),
                short(&usual.example),
                usual.first_line
            );
            return vec![OddIds { rows: kind.rows(count), text }];
        }
        let usual_is_like_example = kind.is_like_example(&usual.example);
        let is_odd = |like: &&Like| {
            like.count.saturating_mul(USUAL_TIMES) <= usual.count
                || (usual_is_like_example && !kind.is_like_example(&like.example))
        };
        let odd: Vec<&Like> = self.all.iter().filter(is_odd).collect();
        let (told, more) = odd.split_at(odd.len().min(WARNINGS_MAX));
        let mut warnings: Vec<OddIds> = told
            .iter()
            .map(|like| OddIds {
                rows: kind.rows(like.count),
                text: format!(
                    "{name} \"{}\" ({} of this shape, the first on line {}) does not look like the others, \"{}\"",
                    short(&like.example),
                    kind.count(like.count),
                    like.first_line,
                    short(&usual.example)
                ),
            })
            .collect();
        if !more.is_empty() {
            let count = more.iter().map(|like| like.count).sum();
            let shapes = thousands(more.len() as u64);
            let text =
                format!("{name}: {shapes} more shapes, in {}, are unlike the others", kind.count(count));
            warnings.push(OddIds { rows: kind.rows(count), text });
        }
        warnings
    }
}

/// Writes a value's shape into `shape`.
fn shape_into(text: &str, shape: &mut String) {
    shape.clear();
    shape.extend(text.chars().take(SHAPE_CHARS_MAX).map(|char| match char {
        '0'..='9' => '9',
        _ if char.is_uppercase() => 'A',
        _ if char.is_alphabetic() => 'a',
        _ => char,
    }));
}

/// What stands for a byte of ASCII in a shape; NUL, which no text holds, for any other.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0_u8;
    while byte.is_ascii() {
        classes[byte as usize] = match byte {
            b'0'..=b'9' => b'9',
            b'A'..=b'Z' => b'A',
            b'a'..=b'z' => b'a',
            _ => byte,
        };
        byte += 1;
    }
    classes
};

/// Whether a short text of ASCII has this shape; of others it says no.
fn is_of_shape(text: &str, shape: &str) -> bool {
    text.len() == shape.len()
        && text.len() <= SHAPE_CHARS_MAX
        && text.bytes().zip(shape.bytes()).all(|(byte, shape)| CLASSES[usize::from(byte)] == shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn odd(kind: Kind, ids: &[(&str, u64)]) -> Vec<OddIds> {
        let mut shapes = Shapes::new(kind);
        for ((id, rows), line) in ids.iter().zip(2..) {
            (0..*rows).for_each(|_| shapes.add(id, line));
        }
        shapes.odd()
    }

    #[test]
    fn a_shape_is_letters_and_digits_by_their_kind_at_a_glance_or_not() {
        let mut shape = String::new();
        for (text, expected) in [("ST007-009", "AA999-999"), ("é.Ž@x1", "a.A@a9"), ("1.2E+07", "9.9A+99")] {
            shape_into(text, &mut shape);
            assert_eq!(shape, expected);
            assert_eq!(is_of_shape(text, &shape), text.is_ascii());
        }
        for text in ["ST007-00", "ST007-0091", "sT007-009", "ST007_009", "STA07-009"] {
            assert!(!is_of_shape(text, "AA999-999"), "{text}");
        }
        let long = "9".repeat(SHAPE_CHARS_MAX);
        assert!(is_of_shape(&long, &long) && !is_of_shape(&format!("{long}9"), &format!("{long}9")));
    }

    #[test]
    fn an_id_unlike_the_others_is_told_with_its_line() {
        let told = odd(Kind::Staff, &[("ST007-009", 20), ("ST007-014", 9), ("ST7-9", 2), ("Amelia Hart", 1)]);
        let [short, name] = &told[..] else { panic!("{told:?}") };
        assert!(short.text.starts_with("staff \"ST7-9\" (2 rows of this shape, the first on line 4)"));
        assert!(name.text.contains("\"Amelia Hart\" (1 row of this shape, the first on line 5)"), "{name:?}");
        assert_eq!((short.rows, name.rows), (Some(2), Some(1)));
        // As many of one shape as of the other: nobody can say which is odd.
        assert_eq!(odd(Kind::Staff, &[("ST7-9", 5), ("ST007-014", 6)]), []);
        // One that is like the vendor's and one that is not.
        assert_eq!(odd(Kind::Inbox, &[("IB238-436", 2), ("Sales", 1)]).len(), 1);
        assert_eq!(odd(Kind::CustomField, &[("CF007-07", 1), ("CF007-08", 1)]), []);
        assert_eq!(odd(Kind::Staff, &[]), []);
    }

    #[test]
    fn ids_that_are_none_are_told_once() {
        let told = odd(Kind::Staff, &[("amelia@example.com", 3), ("b@example.com", 7), ("c", 1)]);
        let [one] = &told[..] else { panic!("{told:?}") };
        let expected = "no staff id looks like the one that the vendor shows, ST007-009, in 11 rows: \"b@example.com\" (line 3)";
        assert!(one.text.starts_with(expected), "{one:?}");
        assert_eq!(one.rows, Some(11));
    }

    #[test]
    fn many_odd_shapes_are_counted() {
        let lengths: Vec<String> = (1..=9).map(|length| "x".repeat(length)).collect();
        let mut ids: Vec<(&str, u64)> = lengths.iter().map(|id| (id.as_str(), 2)).collect();
        ids.push(("ST007-009", 100));
        let told = odd(Kind::Staff, &ids);
        assert_eq!(told.len(), 6);
        assert_eq!(told[5].text, "staff: 4 more shapes, in 8 rows, are unlike the others");
    }
}
