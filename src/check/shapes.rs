//! Ids that look unlike the others: a name where an id should be, a digit that a spreadsheet took away.
//!
//! The vendor shows an example of each kind of id and no rule, so this warns and never refuses. A shape is the value
//! with `A`, `a` and `9` for its letters and digits.

use std::collections::BTreeMap;

use crate::mapping::short;
use crate::text::{rows, thousands};

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
#[expect(missing_docs, reason = "the three ids that the pages show")]
pub enum Kind {
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

    /// Whether an id begins as the example does, with digits on both sides of its hyphen.
    fn is_like_example(self, text: &str) -> bool {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let rest = self.example().get(..2).and_then(|letters| text.strip_prefix(letters));
        rest.and_then(|rest| rest.split_once('-')).is_some_and(|(one, other)| digits(one) && digits(other))
    }
}

/// Writes a value's shape into `shape`.
pub fn shape_into(text: &str, shape: &mut String) {
    shape.clear();
    shape.extend(text.chars().take(SHAPE_CHARS_MAX).map(|char| match char {
        '0'..='9' => '9',
        _ if char.is_uppercase() => 'A',
        _ if char.is_alphabetic() => 'a',
        _ => char,
    }));
}

#[derive(Debug)]
struct Like {
    rows: u64,
    example: String,
    first_line: u64,
}

/// The shapes of one kind of id.
#[derive(Debug)]
pub struct Shapes {
    kind: Kind,
    by_shape: BTreeMap<String, Like>,
    buffer: String,
}

impl Shapes {
    /// None yet.
    #[must_use]
    pub const fn new(kind: Kind) -> Self {
        Self { kind, by_shape: BTreeMap::new(), buffer: String::new() }
    }

    /// Some rows have this id, the first of them on this line.
    pub fn add(&mut self, text: &str, rows: u64, first_line: u64) {
        shape_into(text, &mut self.buffer);
        if let Some(like) = self.by_shape.get_mut(self.buffer.as_str()) {
            like.rows += rows;
            if first_line < like.first_line {
                like.first_line = first_line;
                text.clone_into(&mut like.example);
            }
        } else if self.by_shape.len() < SHAPES_MAX {
            let example = text.chars().take(SHAPE_CHARS_MAX).collect();
            self.by_shape.insert(self.buffer.clone(), Like { rows, example, first_line });
        }
    }

    /// What is odd among them, in words.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let (kind, name, example) = (self.kind, self.kind.name(), self.kind.example());
        let Some(usual) = self.by_shape.values().max_by_key(|like| like.rows) else { return Vec::new() };
        if !self.by_shape.values().any(|like| kind.is_like_example(&like.example)) {
            return vec![format!(
                "no {name} id looks like the one that the vendor shows, {example}: \"{}\" (line {}); a name or an \
                 e-mail is no id",
                short(&usual.example),
                usual.first_line
            )];
        }
        let usual_is_like_example = kind.is_like_example(&usual.example);
        let is_odd = |like: &&Like| {
            like.rows.saturating_mul(USUAL_TIMES) <= usual.rows
                || (usual_is_like_example && !kind.is_like_example(&like.example))
        };
        let mut odd: Vec<&Like> = self.by_shape.values().filter(is_odd).collect();
        odd.sort_by_key(|like| like.first_line);
        let mut warnings: Vec<String> = odd
            .iter()
            .take(WARNINGS_MAX)
            .map(|like| {
                let rows = rows(like.rows);
                format!(
                    "{name} \"{}\" ({rows} of this shape, the first on line {}) does not look like the others, \"{}\"",
                    short(&like.example),
                    like.first_line,
                    short(&usual.example)
                )
            })
            .collect();
        if let Some(more) = odd.len().checked_sub(WARNINGS_MAX).filter(|more| *more > 0) {
            warnings.push(format!("{name}: {} more shapes are unlike the others", thousands(more as u64)));
        }
        warnings
    }
}
