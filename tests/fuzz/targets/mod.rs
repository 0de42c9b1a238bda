//! What is fuzzed, and what must hold whatever the bytes are: not panicking is the least of it.
//!
//! The same functions serve libFuzzer (`tests/fuzz/src/main.rs`), which makes up the bytes, and `cargo test`
//! (`tests/promises/fuzz.rs`), which gives them every file of `fixtures/fuzz`. A target panics where its property does
//! not hold, and judges by other means than the code it judges. Nothing here may leave a file, wait, or reach a desk.
//!
//! | Module | Targets |
//! |---|---|
//! | `rows` | `csv`, `jsonl`: reading, numbering, mapping, the first pass, the file of invalid rows |
//! | `reply` | `reply`: what came back and what it means |
//! | `pace` | `retry-after` and `rates` |
//! | `config` | `config`: the configuration file |
//!
//! Of every input the first line says the circumstances in a few letters, and the rest is what is fuzzed: so a seed can
//! be read and written by hand.

mod config;
mod pace;
mod reply;
mod rows;

/// A target takes some bytes, and panics where its property does not hold.
pub(crate) type Target = fn(&[u8]);

/// The targets by their names, which are those of the folders in `fixtures/fuzz`.
pub(crate) const ALL: [(&str, Target); 6] = [
    ("csv", rows::csv),
    ("jsonl", rows::jsonl),
    ("reply", reply::reply),
    ("retry-after", pace::retry_after),
    ("rates", pace::rates),
    ("config", config::config),
];

/// The longest complaint, in characters: enough for the list of all settings.
const COMPLAINT_CHARS_MAX: usize = 1_500;

/// The target of this name.
pub(crate) fn named(name: &str) -> Option<Target> {
    ALL.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}

/// The circumstances, and what is fuzzed.
fn split(data: &[u8]) -> (String, &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (first, rest) = data.split_at(end);
    (String::from_utf8_lossy(first).into_owned(), rest.get(1..).unwrap_or_default())
}

/// What every complaint must be: something, one line, harmless on a terminal, and no page.
#[track_caller]
fn assert_tells(message: &str) {
    assert!(!message.trim().is_empty(), "a complaint without words");
    assert!(!message.chars().any(char::is_control), "a control character in {message:?}");
    assert!(message.chars().count() <= COMPLAINT_CHARS_MAX, "a complaint like a page: {message:?}");
}

/// The line that a complaint names, from 1.
#[track_caller]
fn line_named(message: &str) -> u64 {
    let after = message.split("line ").nth(1).unwrap_or_else(|| panic!("no line in {message:?}"));
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("no line in {message:?}"))
}
