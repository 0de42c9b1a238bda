//! `completions` and `man`: both are made from the declarations of the command line, so they cannot tell otherwise than
//! `--help` does. They read no configuration and need no journal.

use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::print;
use crate::cli::{Cli, CompletionsArgs, ManArgs, ShellChoice};
use crate::error::{Error, advice, said};

/// `completions SHELL`
pub fn completions(args: &CompletionsArgs) {
    let shell = match args.shell {
        ShellChoice::Bash => Shell::Bash,
        ShellChoice::Zsh => Shell::Zsh,
        ShellChoice::Fish => Shell::Fish,
    };
    // Into memory first: a reader that has seen enough is no failure.
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "deskload", &mut text);
    print(&String::from_utf8_lossy(&text));
}

/// `man`
pub fn man(args: &ManArgs) -> Result<(), Error> {
    if let Some(folder) = &args.dir {
        return pages(folder).map_err(|error| Error::file("write the pages to", folder, &error));
    }
    let mut text = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut text).map_err(|error| {
        Error::Machine(format!("failed to write the page: {}{}", said(&error), advice(&error)))
    })?;
    print(&String::from_utf8_lossy(&text));
    Ok(())
}

fn pages(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(Cli::command(), folder)
}
