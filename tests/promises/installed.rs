//! What comes with the program is of use: the shells complete with it, and the pages are whole and clean.

use std::fs;

use clap::CommandFactory as _;
use deskload::cli::Cli;
use deskload::error::EXIT_DONE;

use crate::support::{Bench, tool};

/// A bench with the completions of a shell in `deskload.SHELL`, and the shell, if it is installed.
fn with_completions(shell: &str) -> Option<Bench> {
    tool(shell)?;
    let bench = Bench::new();
    let text = bench.run(&["completions", shell]).code(EXIT_DONE).stdout;
    bench.file(&format!("deskload.{shell}"), text);
    Some(bench)
}

/// What a shell says, its words in order.
fn words(bench: &Bench, line: &str) -> Vec<String> {
    let output = bench.shell(line, None).code(EXIT_DONE).never_says(":");
    let mut words: Vec<_> = output.stdout.split_whitespace().map(str::to_owned).collect();
    words.sort();
    words
}

#[test]
fn bash_completes_commands_and_flags() {
    let Some(bench) = with_completions("bash") else { return };
    bench.file(
        "complete.sh",
        ". ./deskload.bash; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1))\n\
         _deskload deskload \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD - 1]}\"\n\
         printf '%s\\n' \"${COMPREPLY[@]}\"\n",
    );
    let complete = |typed: &str| words(&bench, &format!("bash --norc -u complete.sh {typed}"));
    assert_eq!(complete("deskload re"), ["report", "resolve", "resume", "retry"]);
    assert_eq!(complete("deskload run --rate"), ["--rate", "--rate-per-ticket"]);
    assert_eq!(complete("deskload run --in-doubt ''"), ["hold", "resend"]);
    assert_eq!(complete("deskload config p"), ["path"]);
}

#[test]
fn fish_completes_commands_and_flags() {
    let Some(bench) = with_completions("fish") else { return };
    let complete = |typed: &str| {
        let line = format!(
            "fish --no-config -c 'source deskload.fish; complete --do-complete \"{typed}\"' | cut -f 1"
        );
        words(&bench, &line)
    };
    assert_eq!(complete("deskload re"), ["report", "resolve", "resume", "retry"]);
    assert_eq!(complete("deskload run --rate"), ["--rate", "--rate-per-ticket"]);
    assert_eq!(complete("deskload config p"), ["path"]);
}

#[test]
fn zsh_takes_the_completions() {
    let Some(bench) = with_completions("zsh") else { return };
    let line =
        "zsh -f -c 'autoload -U compinit && compinit -u -D && . ./deskload.zsh && echo $_comps[deskload]'";
    assert_eq!(words(&bench, line), ["_deskload"]);
}

/// The names of the pages that there must be: of the command and of all below it.
fn names(command: &clap::Command, before: &str) -> Vec<String> {
    let name = format!("{before}{}", command.get_name());
    let inner = command.get_subcommands().flat_map(|inner| names(inner, &format!("{name}-")));
    std::iter::once(format!("{name}.1")).chain(inner).collect()
}

fn with_pages() -> Bench {
    let bench = Bench::new();
    let said = bench.run(&["man", "--dir", "pages"]).code(EXIT_DONE);
    assert_eq!(said.stdout + &said.stderr, "");
    bench
}

#[test]
fn every_command_has_a_page_with_its_flags_examples_and_variables() {
    let bench = with_pages();
    let mut expected = names(&Cli::command(), "");
    let pages = fs::read_dir(bench.path("pages")).unwrap();
    let mut found: Vec<_> = pages.map(|page| page.unwrap().file_name().into_string().unwrap()).collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    let page = bench.read("pages/deskload-run.1");
    let source = concat!("\"deskload ", env!("CARGO_PKG_VERSION"), "\"");
    for text in [".SH EXAMPLES", "--rate 100/min", "DESKLOAD_RATE", ".SH PACE", source] {
        assert!(page.replace('\\', "").contains(text), "{text:?} is not in {page}");
    }
    let page = bench.read("pages/deskload.1");
    assert!(page.contains(".SH NOTES") && !page.contains("commit:"), "{page}");
    assert_eq!(bench.run(&["man"]).code(EXIT_DONE).stdout, page);
}

#[test]
fn no_page_makes_a_formatter_complain() {
    let Some(_) = tool("mandoc") else { return };
    let bench = with_pages();
    // A list behind a list is a break beside a space, which shows as one blank line; a page has a version, not a date.
    let harmless = ["skipping paragraph macro: br", "missing date"];
    let said = bench.shell("mandoc -T lint -W warning pages/*.1", None);
    let is_wrong = |line: &&str| !harmless.iter().any(|harmless| line.contains(harmless));
    let wrong: Vec<_> = said.stdout.lines().filter(is_wrong).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(said.stderr, "");
}
