//! Programs that are no part of a Rust toolchain, and that some tests need.
//!
//! A machine without one still passes `cargo test`; the test then says that it was not run. Where it must be run,
//! `DESKLOAD_TEST_REQUIRE=nginx,strace` makes a missing program a failure, as `.ci/run` does.

use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Where daemons are, and a person's `PATH` often does not lead.
const MORE_FOLDERS: [&str; 4] = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/lib/postgresql/15/bin"];

/// Where this program is. If it is not there the caller has nothing to test; the reader is told so.
pub(crate) fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(MORE_FOLDERS.iter().map(PathBuf::from));
    let found = folders.map(|folder| folder.join(name)).find(|program| program.is_file());
    if found.is_none() {
        not_run(name, "is not installed");
    }
    found
}

/// Runs a program that is expected to end well, in this folder.
pub(crate) fn must_run(program: &Path, args: &[&str], folder: &Path) {
    let output = std::process::Command::new(program).args(args).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}: {}", program.display(), String::from_utf8_lossy(&output.stderr));
}

/// Tells the reader that this test needs something and was not run; fails where it must be run.
pub(crate) fn not_run(name: &str, why: &str) {
    let required = std::env::var("DESKLOAD_TEST_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|word| word.trim() == name), "{name} is required and {why}");
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // Not with a macro: what those print is kept back when a test passes.
    let _ = writeln!(std::io::stderr(), "NOT RUN: {test}: {name} {why}");
}
