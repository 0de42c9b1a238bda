//! The guide is true: its commands are run, against a desk, and what they print is compared with what stands there.
//!
//! In README.md and docs/*.md trycmd runs each block of `console`, the shell each block of `sh`, and a block of `toml` goes
//! to the end of the configuration file. What stands there indented (a line for cron, `cargo install`) is not run; that
//! its flags exist is looked at.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use deskload::sandbox::{Fate, Reply, When};

use crate::support::{Bench, TOKEN, csv};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A bench whose program knows no more of the desk than where it is.
fn stranger() -> Bench {
    Bench::new().unset("DESKLOAD_ACCOUNT_EMAIL").unset("DESKLOAD_TOKEN").set("DESKLOAD_RATE", "unlimited")
}

/// Reads the chapter from its beginning to its end, as a person would who types what stands there.
fn follow(chapter: &str, mut bench: Bench, files: &[(&str, &[u8])]) -> Bench {
    // trycmd runs the commands of `chapter.md` in `chapter.in`.
    bench.move_to("chapter.in");
    let page = bench.beside("chapter.md");
    for (name, text) in files {
        bench.file(name, text);
    }
    let program = bench.program();
    let text = fs::read_to_string(Path::new(ROOT).join(chapter)).unwrap();
    let mut ran = 0;
    for Block { kind, line, text } in blocks(&text) {
        match kind {
            "toml" => configure(&bench, text),
            "console" => {
                // Behind as many lines as there are, so that what is wrong is told with its line in the chapter.
                fs::write(&page, format!("{}```console\n{text}```\n", "\n".repeat(line - 1))).unwrap();
                trycmd::TestCases::new().case(&page).register_bin("deskload", program.as_path()).run();
            }
            "sh" => {
                let folder = program.parent().unwrap().display();
                bench.shell(&format!("PATH={folder}:$PATH\n{text}"), None).code(0);
            }
            _ => continue,
        }
        ran += 1;
    }
    assert!(ran > 0, "nothing in {chapter} is run");
    bench
}

fn configure(bench: &Bench, text: &str) {
    let folder = bench.path(".config/deskload");
    fs::create_dir_all(&folder).unwrap();
    let file = OpenOptions::new().create(true).append(true).open(folder.join("config.toml"));
    file.unwrap().write_all(text.as_bytes()).unwrap();
    // Every profile of the guide has its token there.
    let token = folder.join("desk.token");
    fs::write(&token, TOKEN).unwrap();
    fs::set_permissions(token, Permissions::from_mode(0o600)).unwrap();
}

struct Block<'a> {
    kind: &'a str,
    /// The line of its fence, from 1.
    line: usize,
    text: &'a str,
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut found = Vec::new();
    let (mut at, mut open) = (0, None);
    for (line, number) in text.split_inclusive('\n').zip(1..) {
        if let Some(kind) = line.trim_end().strip_prefix("```") {
            open = match open {
                None => Some((kind, number, at + line.len())),
                Some((kind, line, start)) => {
                    found.push(Block { kind, line, text: &text[start..at] });
                    None
                }
            };
        }
        at += line.len();
    }
    assert!(open.is_none(), "a block is not closed");
    found
}

#[test]
fn the_readme_is_true() {
    let bench = follow("README.md", Bench::new(), &[("changes.csv", csv(1..=3).as_bytes())]);
    assert_eq!(bench.judge().applied, 3);
}

#[test]
fn the_first_run_is_true() {
    let bench = follow("docs/first-run.md", stranger(), &[("my-rows.csv", csv(1..=14).as_bytes())]);
    assert_eq!(bench.counts(1), [14, 0, 0, 0, 0, 0]);
}

#[test]
fn the_chapter_on_looking_before_is_true() {
    let messy = fs::read(Path::new(ROOT).join("fixtures/messy-export.csv")).unwrap();
    let bench = follow("docs/check.md", stranger(), &[("changes.csv", &messy)]);
    assert_eq!(bench.desk().requests, 0);
}

/// From a German Excel to the desk in three commands.
#[test]
fn the_chapter_on_files_and_columns_is_true() {
    let export = fs::read(Path::new(ROOT).join("fixtures/sheet-export.csv")).unwrap();
    let bench = follow("docs/files-and-columns.md", stranger(), &[("export.csv", &export)]);
    assert_eq!(bench.counts(1), [3, 0, 1, 0, 0, 0]);
    let staff = |ticket| bench.judge().order(ticket).join(" ");
    assert!(staff(2001).contains("\"staff\":\"ST007-001\"") && staff(2001).contains("Rückfrage; dringend"));
    assert!(staff(2002).contains("\"staff\":\"ST007-002\"") && staff(2002).contains("Größe “L” – 5 €"));
}

#[test]
fn the_chapter_on_doubt_is_true() {
    let lost = |ticket| Fate::new(When::Ticket(ticket), Reply::close());
    let desk = |options: &mut deskload::sandbox::Options| options.fates = [5, 9, 11].map(lost).into();
    let bench = Bench::with(desk);
    let bench = follow("docs/in-doubt.md", bench, &[("rows.csv", csv(1..=12).as_bytes())]);
    assert_eq!(bench.counts(1)[3..], [0, 1, 0]);
}

#[test]
fn the_chapter_on_exit_codes_is_true() {
    follow("docs/exit-codes.md", Bench::new(), &[("rows.csv", csv(1..=3).as_bytes())]);
}

fn chapters() -> Vec<PathBuf> {
    let root = Path::new(ROOT);
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut chapters: Vec<_> = docs.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    assert!(chapters.len() > 8, "{chapters:?}");
    chapters.push(root.join("README.md"));
    chapters.push(root.join("CHANGELOG.md"));
    chapters
}

#[test]
fn every_flag_in_the_guide_exists() {
    // Of cargo, systemctl, systemd-creds, curl, cargo-deb; and the one that is told not to exist.
    let others = ["release", "path", "locked", "test", "now", "name", "data-binary", "token"];
    let mut known = BTreeSet::from_iter(others.map(str::to_owned));
    let mut command = deskload::cli::Cli::command();
    command.build();
    flags(&command, &mut known);
    for chapter in chapters() {
        let text = fs::read_to_string(&chapter).unwrap();
        // What a later version will have is told with these words.
        for flag in text.lines().filter(|line| !line.contains("*not yet*")).flat_map(flags_in) {
            assert!(known.contains(flag), "--{flag} in {}", chapter.display());
        }
    }
}

fn flags_in(line: &str) -> impl Iterator<Item = &str> {
    let is_start =
        |at: usize| !line[..at].ends_with(|before: char| before == '-' || before.is_alphanumeric());
    let starts = line.match_indices("--").map(|(at, _)| at).filter(move |&at| is_start(at));
    let flag = |at: usize| line[at + 2..].split(|c: char| !c.is_ascii_lowercase() && c != '-').next();
    starts.filter_map(flag).filter(|flag| flag.starts_with(|c: char| c.is_ascii_lowercase()))
}

fn flags(command: &clap::Command, known: &mut BTreeSet<String>) {
    known.extend(command.get_arguments().filter_map(|arg| arg.get_long()).map(str::to_owned));
    command.get_subcommands().for_each(|inner| flags(inner, known));
}

#[test]
fn every_link_of_the_guide_leads_somewhere() {
    for chapter in chapters() {
        let text = fs::read_to_string(&chapter).unwrap();
        let folder = chapter.parent().unwrap();
        for rest in text.split("](").skip(1) {
            let target = rest.split([')', '#']).next().unwrap();
            let is_ours = !target.is_empty() && !target.contains("://");
            assert!(!is_ours || folder.join(target).exists(), "{target} in {}", chapter.display());
        }
    }
}

#[test]
fn every_test_that_answers_a_complaint_is_there() {
    let text = fs::read_to_string(Path::new(ROOT).join("docs/complaints.md")).unwrap();
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| ") && line.contains('`')).collect();
    assert!(rows.len() > 25, "{rows:#?}");
    for row in rows {
        let tests = row.trim_end_matches(" |").rsplit("| ").next().unwrap();
        let named = tests.split('`').skip(1).step_by(2);
        for name in named {
            let (file, function) =
                name.split_once(": ").map_or((name, None), |(file, function)| (file, Some(function)));
            let mut places =
                ["tests/promises", ""].map(|folder| Path::new(ROOT).join(folder).join(file)).into_iter();
            let Some(place) = places.find(|place| place.exists()) else { panic!("{name} in {row}") };
            let Some(function) = function else { continue };
            let text = fs::read_to_string(place).unwrap();
            let on_both = text.split_once("on_both!(").and_then(|(_, listed)| listed.split_once(");"));
            if on_both.is_some_and(|(listed, _)| listed.contains(&format!(" {function},\n"))) {
                continue;
            }
            let (before, _) = text
                .split_once(&format!("\nfn {function}() {{"))
                .unwrap_or_else(|| panic!("{name} in {row}"));
            assert!(
                before.lines().rev().take(3).any(|line| line == "#[test]"),
                "{name} is no test, in {row}"
            );
        }
        assert!(tests.contains('`'), "no test in {row}");
    }
}
