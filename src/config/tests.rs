use std::ffi::OsString;
use std::path::Path;

use super::layers::parse_from;
use super::*;
use crate::error::Error;

const FILE: &str = r#"
default_profile = "day"

[profile.day]
rate = "7/s"
concurrency = 3
strict = true
map = { staff = "Assignee" }
ignore = ["Comment", "Team"]
journal = "/var/lib/deskload/journal.sqlite3"

[profile.night]
rate = "100/min"
check_reply_id = false

[[profile.night.reply]]
text = "too many"
verdict = "throttled"
"#;

fn parsed(file: &str, words: &[&str]) -> Result<Layered, Error> {
    let words = ["deskload"].iter().chain(words).map(OsString::from);
    let path = Path::new("/etc/deskload/config.toml");
    parse_from(words, &|_| Ok(Some(file::Source::new(path, file)))).unwrap()
}

fn refused(file: &str) -> String {
    parsed(file, &["config", "show"]).unwrap_err().to_string()
}

fn of(layered: &Layered, name: &str) -> (String, Origin) {
    let (values, origin) = layered.setting(name);
    (values.join(","), origin)
}

fn line(line: usize) -> Origin {
    Origin::Profile(format!("/etc/deskload/config.toml, line {line}"))
}

#[test]
fn a_flag_counts_before_a_profile_and_that_before_the_default() {
    let layered = parsed(FILE, &["config", "show", "--concurrency", "5"]).unwrap();
    assert_eq!(of(&layered, "rate"), ("7/s".to_owned(), line(5)));
    assert_eq!(of(&layered, "concurrency"), ("5".to_owned(), Origin::Flag));
    assert_eq!(of(&layered, "strict"), ("true".to_owned(), line(7)));
    assert_eq!(of(&layered, "map"), ("staff=Assignee".to_owned(), line(8)));
    assert_eq!(of(&layered, "ignore"), ("Comment,Team".to_owned(), line(9)));
    assert_eq!(of(&layered, "timeout"), ("30s".to_owned(), Origin::Default));
    let other = parsed(FILE, &["config", "show", "--profile", "night"]).unwrap();
    assert_eq!(of(&other, "rate").0, "100/min");
    assert_eq!(of(&other, "concurrency"), ("8".to_owned(), Origin::Default));
    assert!(!other.profile.rules.check_reply_id && other.profile.rules.replies.len() == 1);
}

#[test]
fn a_profile_reaches_every_command_that_has_the_flag() {
    let layered = parsed(FILE, &["run", "rows.csv"]).unwrap();
    let crate::cli::Command::Run(args) = &layered.cli.command else { panic!("{layered:?}") };
    assert_eq!(args.check.send.pace.concurrency, 3);
    assert!(args.check.input.strict && args.check.input.map == ["staff=Assignee"]);
    let layered = parsed(FILE, &["status"]).unwrap();
    let crate::cli::Command::Status(args) = &layered.cli.command else { panic!("{layered:?}") };
    assert_eq!(args.read.journal.journal.as_deref(), Some("/var/lib/deskload/journal.sqlite3".as_ref()));
}

#[test]
fn a_list_that_is_typed_takes_the_place_of_the_profile_s() {
    let layered = parsed(FILE, &["config", "show", "--ignore", "Other"]).unwrap();
    assert_eq!(of(&layered, "ignore"), ("Other".to_owned(), Origin::Flag));
}

#[test]
fn what_nobody_knows_is_refused_with_the_closest_name_and_the_line() {
    for (file, says) in [
        ("\n[profile.a]\nconcurency = 3", "line 3: concurency is not a setting; did you mean concurrency?"),
        ("[profile.a]\nzzz = 3", "line 2: zzz is not a setting; known are account_email, "),
        ("profiles = 1", "line 1: profiles is not a setting; did you mean profile?"),
        ("[profile.a]\n\n[[profile.a.reply]]\ntxt = 'x'", "did you mean text?"),
        ("[profile.a]\nyes = true", "yes is not a setting"),
    ] {
        let told = refused(file);
        assert!(told.contains(says), "{file}: {told}");
    }
}

#[test]
fn a_value_that_its_flag_would_refuse_is_refused_with_its_line() {
    for (file, says) in [
        ("[profile.a]\nrate = 'fast'", "line 2: rate: "),
        ("[profile.a]\nconcurrency = 0", "line 2: concurrency: "),
        ("[profile.a]\nin_doubt = 'maybe'", "line 2: in_doubt: invalid value 'maybe'"),
        ("[profile.a]\nstrict = 'yes'", "strict has to be true or false"),
        ("[profile.a]\njournal = 'j.sqlite3'", "journal has to begin with / or ~/"),
        ("[profile.a]\ntoken_file = 'token'", "token_file has to begin with / or ~/"),
        ("[profile.a]\ntimeout = [1]", "timeout has to be a text or a number"),
        ("[profile.a]\ntoken_file = '/a'\ntoken_command = 'b'", "leave one out"),
        ("[profile.a]\ntoken_file = /a", "line 2: "),
        ("profile = 1", "[profile.NAME]"),
        (
            "default_profile = 'b'\n[profile.a]",
            "line 1: default_profile is b, which is no profile; there is a",
        ),
        ("[profile.a]\n[[profile.a.reply]]\ntext = 'x'\nverdict = 'applied'", "line 4: verdict has to be"),
        ("[profile.a]\n[[profile.a.reply]]\ntext = ' '\nverdict = 'failed'", "line 3: a blank text"),
    ] {
        let told = refused(file);
        assert!(told.contains(says), "{file}: {told}");
    }
}

#[test]
fn a_token_in_the_file_is_refused_and_not_repeated() {
    for file in [
        "[profile.a]\ntoken = 'canary-1'",
        "[profile.a]\ntoken_file = canary-1",
        "[profile.a]\nrate = 'canary-1",
    ] {
        let told = refused(file);
        assert!(!told.contains("canary") && told.contains("line 2"), "{told}");
    }
}

#[test]
fn a_profile_that_is_not_there_is_told_with_those_that_are() {
    let told = parsed(FILE, &["status", "--profile", "nigth"]).unwrap_err().to_string();
    assert!(told.contains("no profile nigth") && told.contains("day, night"), "{told}");
}

#[test]
fn every_setting_has_its_variable() {
    use clap::CommandFactory as _;
    let command = crate::cli::Cli::command();
    let run = command.find_subcommand("run").unwrap();
    let mut names = setting_names();
    for arg in run.get_arguments().filter(|arg| layers::is_setting(arg)) {
        let variable = format!("DESKLOAD_{}", arg.get_id().as_str().to_uppercase());
        assert_eq!(arg.get_env().unwrap_or_default(), variable.as_str());
        names.retain(|name| name != arg.get_id().as_str());
    }
    assert!(names.is_empty(), "{names:?}");
}
