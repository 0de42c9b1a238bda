//! The properties that are fuzzed, held against the whole corpus in `fixtures/fuzz`: what was found once stays found.

use std::collections::BTreeSet;
use std::path::Path;

#[path = "../fuzz/targets/mod.rs"]
mod targets;

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/fuzz"))
}

fn names_in(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Gives every file of a target's corpus to it.
fn replay(target: &str) {
    let check = targets::named(target).unwrap();
    let folder = folder().join(target);
    let names = names_in(&folder);
    assert!(names.len() >= 5, "{names:?}");
    for name in names {
        let content = std::fs::read(folder.join(&name)).unwrap();
        // Whole, and as it comes when it breaks off.
        for part in [&content[..], &content[..content.len() / 2]] {
            let held = std::panic::catch_unwind(|| check(part));
            assert!(held.is_ok(), "{target}/{name}, {} bytes of it", part.len());
        }
    }
}

#[test]
fn fuzzed_csv_rows_keep_their_numbers_lines_and_cells() {
    replay("csv");
}

#[test]
fn fuzzed_jsonl_rows_keep_their_numbers_lines_and_members() {
    replay("jsonl");
}

#[test]
fn fuzzed_replies_are_applied_in_one_form_alone_and_never_tell_the_token() {
    replay("reply");
}

#[test]
fn fuzzed_retry_afters_are_a_wait_or_none() {
    replay("retry-after");
}

#[test]
fn fuzzed_rates_read_back_as_themselves() {
    replay("rates");
}

#[test]
fn fuzzed_configurations_are_refused_by_line_and_without_the_token() {
    replay("config");
}

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    let targets: BTreeSet<String> = targets::ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(targets, names_in(folder()));
}
