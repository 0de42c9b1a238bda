//! Parse, do, say what went wrong and what to do next, exit.

use std::process::ExitCode;

use deskload::{commands, config, voice};

fn main() -> ExitCode {
    let done = commands::guarded(|| commands::dispatch(&config::parse()?));
    voice::end(done.as_ref().err());
    done.map_or_else(|error| ExitCode::from(error.exit_code()), |()| ExitCode::SUCCESS)
}
