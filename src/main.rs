//! Parse, do, say what went wrong, exit.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = deskload::cli::Cli::parse();
    match deskload::commands::dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            deskload::commands::say(&format!("deskload: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}
