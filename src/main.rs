//! Parse, do, say what went wrong, exit.

use std::process::ExitCode;

use clap::Parser as _;
use deskload::cli::Cli;
use deskload::commands;

fn main() -> ExitCode {
    match commands::guarded(|| commands::dispatch(Cli::parse())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            commands::say(&format!("deskload: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}
