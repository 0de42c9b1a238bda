//! `completions` and `man`: both are made from the declarations of the command line, so they cannot tell otherwise than
//! `--help` does. They read no configuration and need no journal.

use std::path::Path;

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::roff::{Roff, roman};

use super::print;
use crate::cli::{Cli, CompletionsArgs, ManArgs, ShellChoice};
use crate::error::{Error, explained};

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
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    if let Some(folder) = &args.dir {
        return std::fs::create_dir_all(folder)
            .and_then(|()| pages(&command, folder))
            .map_err(|error| Error::file("write the pages to", folder, &error));
    }
    let text = page(command)
        .map_err(|error| Error::Machine(format!("failed to write the page: {}", explained(&error))))?;
    print(&String::from_utf8_lossy(&text));
    Ok(())
}

/// A page for the command and for each one below it.
fn pages(command: &Command, folder: &Path) -> std::io::Result<()> {
    let name = command.get_display_name().unwrap_or("deskload");
    std::fs::write(folder.join(format!("{name}.1")), page(command.clone())?)?;
    command.get_subcommands().try_for_each(|inner| pages(inner, folder))
}

/// One page. `clap_mangen` knows neither of the texts that `--help` has around it: they become sections of their own.
fn page(command: Command) -> std::io::Result<Vec<u8>> {
    let text = |text: Option<&clap::builder::StyledStr>| text.map(ToString::to_string);
    let (examples, notes) = (text(command.get_before_help()), text(command.get_after_help()));
    // The long version is a list of lines; a page would run them together.
    let version = env!("CARGO_PKG_VERSION");
    let command = if command.get_version().is_some() { command.long_version(version) } else { command };
    let mut page = Vec::new();
    let title = command.get_display_name().unwrap_or("deskload").to_owned();
    clap_mangen::Man::new(command.after_help(None::<&str>)).render(&mut page)?;
    // It writes no quotes for a date that is empty, so that the version would stand in its place.
    let titled = |line: &str| {
        if line.starts_with(".TH ") {
            format!(".TH {title} 1 \"\" \"deskload {version}\" \"deskload\"\n")
        } else {
            line.to_owned()
        }
    };
    let page = String::from_utf8_lossy(&page);
    let mut page = page.split_inclusive('\n').map(titled).collect::<String>().into_bytes();
    let mut more = Roff::new();
    if let Some(examples) = examples {
        more.control("SH", ["EXAMPLES"]).control("nf", []);
        more.text(
            examples
                .lines()
                .skip(1)
                .map(|line| roman(format!("{}\n", line.trim_start())))
                .collect::<Vec<_>>(),
        );
        more.control("fi", []);
    }
    if let Some(notes) = notes {
        more.control("SH", ["NOTES"]).text([roman(notes)]);
    }
    more.to_writer(&mut page)?;
    Ok(page)
}
