//! Parse, do, say what went wrong, exit.

use std::process::ExitCode;

use deskload::{commands, config};

fn main() -> ExitCode {
    match commands::guarded(|| commands::dispatch(&config::parse()?)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            commands::say(&format!("deskload: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}
