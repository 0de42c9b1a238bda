//! The control: a deskload whose intents leave no mark must be caught repeating updates, or the torture proves
//! nothing.
//!
//! It is built with a cfg that only `without-intents.sh` gives, beside the ordinary build and never in its place:
//! the libraries are shared, the program goes into a folder of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds it, and gives its path.
pub(crate) fn build() -> Result<PathBuf, String> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().ok_or("no target folder")?;
    let own = target.join("control");
    let done = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--locked", "--quiet", "--bin", "deskload"])
        .arg("--target-dir")
        .arg(&own)
        .arg("--config")
        .arg(format!("build.build-dir = {:?}", target.display().to_string()))
        .env(
            "RUSTC_WORKSPACE_WRAPPER",
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torture/without-intents.sh"),
        )
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .map_err(|error| format!("failed to start cargo: {error}"))?;
    if !done.success() {
        return Err(format!("failed to build the control: cargo ended with {done}"));
    }
    Ok(own.join("debug/deskload"))
}
