//! kill -9 at one precise point: what was not admitted is sent later, what may have left is in doubt.
//!
//! `crash` kills at random moments instead.

mod journal;
mod prune;
mod report;
mod row;

use std::fs;
use std::path::Path;

/// The calls by which files come to be, grow, change their names and go; some have other names elsewhere.
const WRITING: [&str; 9] =
    ["openat", "/^mkdir", "pwrite64", "write", "fsync", "ftruncate", "/^rename", "/^unlink", "/chmod"];

/// A copy of a folder and all that is in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}
