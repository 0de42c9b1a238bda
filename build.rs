//! Tells `--version` from which commit and for which machine the program is built.
//!
//! It must not fail the build: without git, or in an unpacked archive, the commit is "unknown". So it is in a debug build,
//! which would otherwise be compiled anew after each commit.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let of = |name| env::var(name).unwrap_or_default();
    let commit = (of("PROFILE") == "release").then(commit).flatten();
    println!("cargo::rustc-env=DESKLOAD_BUILD_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
    println!("cargo::rustc-env=DESKLOAD_BUILD_TARGET={}", of("TARGET"));
}

/// The commit of this folder's own repository; an archive may have been unpacked inside another one.
fn commit() -> Option<String> {
    let top = git(&["rev-parse", "--show-toplevel"])?;
    let is_ours = Path::new(&top).canonicalize().ok()? == env::current_dir().ok()?.canonicalize().ok()?;
    let commit = git(&["rev-parse", "--short=12", "HEAD"]).filter(|_| is_ours)?;
    // A line is added there with each commit.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| Path::new(log).exists()) {
        println!("cargo::rerun-if-changed={log}");
    }
    Some(commit)
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned())
}
