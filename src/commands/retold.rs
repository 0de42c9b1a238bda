//! The commands that a person is told, as a shell takes them: to be pasted, from the same folder.
//!
//! What was typed is told again to the letter, save what may hold a password. Another command is told with those of the
//! flags that it takes, too, so that it finds the same journal, the same profile and the same desk; and where the run was
//! begun by another command, with what that one had besides. What came from the environment is there for the next one.

use clap::{Arg, CommandFactory as _};

use crate::cli::Cli;
use crate::error::Error;
use crate::journal::archive::Archive;
use crate::journal::postgres::place::without_password;
use crate::journal::runs::Run;
use crate::report::next::Flags;
use crate::text::shell_word;

/// Flags whose values may hold a password, and are not repeated.
const KEPT_QUIET: [&str; 3] = ["proxy", "token-command", "on-finish"];

/// Flags that were for one time, or for whom the answer was. `--in-doubt` is a person's word on the rows that were in doubt
/// then; in a command that is pasted later it would send others again.
const ONCE: [&str; 12] = [
    "again",
    "yes",
    "dry-run",
    "accept-journal",
    "in-doubt",
    "json",
    "quiet",
    "verbose",
    "applied",
    "resend",
    "skip",
    "rows",
];

/// Flags about one input or its run, which the rows that come back from it are not.
const FOR_ONE_INPUT: [&str; 7] =
    ["format", "sheet", "encoding", "expect-rows", "max-updates", "limit", "only-changed"];

/// A command line, without the program.
pub(super) struct Typed(Vec<String>);

impl Typed {
    /// The command line of this process.
    pub(super) fn now() -> Self {
        Self(std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect())
    }

    /// All of it.
    pub(super) fn whole(&self) -> String {
        let mut whole = vec!["deskload".to_owned()];
        let mut hides = false;
        for word in &self.0 {
            let (name, value) = split(word).unwrap_or_default();
            let is_secret = KEPT_QUIET.contains(&name);
            whole.push(match value {
                _ if hides => "…".to_owned(),
                Some(_) if is_secret => format!("--{name}=…"),
                _ => shell_word(&without_password(word)),
            });
            hides = !hides && is_secret && value.is_none();
        }
        whole.join(" ")
    }

    /// The flags that this command takes, too, each with a blank before it.
    pub(super) fn flags_for(&self, command: &str) -> String {
        told(&self.flags(command))
    }

    /// The command that goes on with a run, where what was typed would not.
    pub(super) fn resuming(&self, run: u64) -> String {
        format!("deskload resume {run}{}", self.flags_for("resume"))
    }

    /// By their names, as they are told.
    fn flags(&self, command: &str) -> Vec<(String, String)> {
        let cli = Cli::command();
        let arg = |of: &str, name: &str| -> Option<Arg> {
            let of = cli.find_subcommand(of)?;
            of.get_arguments().find(|arg| arg.get_long() == Some(name)).cloned()
        };
        let mut flags = Vec::new();
        let Some((own, words)) = self.0.split_first() else { return flags };
        let mut words = words.iter().take_while(|word| *word != "--");
        while let Some(word) = words.next() {
            let Some((name, value)) = split(word) else { continue };
            let takes_value = arg(own, name).is_some_and(|arg| arg.get_action().takes_values());
            let value = if takes_value { value.or_else(|| words.next().map(String::as_str)) } else { None };
            if ONCE.contains(&name) || arg(command, name).is_none() {
                continue;
            }
            let shown = value.map(|value| {
                if KEPT_QUIET.contains(&name) {
                    "…".to_owned()
                } else {
                    shell_word(&without_password(value))
                }
            });
            let shown = shown.map_or_else(|| format!("--{name}"), |shown| format!("--{name} {shown}"));
            flags.push((name.to_owned(), shown));
        }
        flags
    }
}

/// A flag's name, and its value if that is in the same word.
fn split(word: &str) -> Option<(&str, Option<&str>)> {
    let flag = word.strip_prefix("--")?;
    Some(flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value))))
}

fn told(flags: &[(String, String)]) -> String {
    flags.iter().flat_map(|(_, told)| [" ", told.as_str()]).collect()
}

/// The command that goes on with a run: the one that was typed, unless what it read comes once. The journal keeps it as it was
/// typed all the same, for the flags of the commands that follow.
pub(super) fn going_on(typed: &str, run: &Run, flags: &Flags) -> String {
    if words(typed)
        .iter()
        .any(|word| matches!(word.as_str(), "-" | "/dev/stdin") || word.starts_with("/dev/fd/"))
    {
        flags.resuming(run.key.id)
    } else {
        typed.to_owned()
    }
}

/// What goes with the commands about this run: what was typed now, and then what it was begun with.
pub(super) fn flags(journal: &dyn Archive, run: &Run) -> Result<Flags, Error> {
    let mut begun = None;
    journal.each_invocation(run.key, &mut |invocation| {
        begun.get_or_insert(invocation.again);
    })?;
    Ok(of(&Typed::now(), &Typed(words(&begun.unwrap_or_default()))))
}

fn of(now: &Typed, begun: &Typed) -> Flags {
    let both = |command: &str| {
        let mut flags = now.flags(command);
        let more = begun.flags(command).into_iter();
        let more: Vec<_> = more.filter(|(name, _)| flags.iter().all(|(known, _)| known != name)).collect();
        flags.extend(more);
        flags
    };
    let mut run = both("run");
    run.retain(|(name, _)| !FOR_ONE_INPUT.contains(&name.as_str()));
    Flags {
        run: told(&run),
        resume: told(&both("resume")),
        resolve: told(&both("resolve")),
        report: told(&both("report")),
    }
}

/// The words of a command as [`Typed::whole`] tells it, without the program.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), String::new());
    let (mut quoted, mut escaped) = (false, false);
    for char in command.chars() {
        match char {
            _ if std::mem::take(&mut escaped) => word.push(char),
            '\'' => quoted = !quoted,
            '\\' if !quoted => escaped = true,
            ' ' if !quoted => words.push(std::mem::take(&mut word)),
            _ => word.push(char),
        }
    }
    words.push(word);
    words.split_off(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(words: &[&str]) -> Typed {
        Typed(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn the_command_is_retold_without_what_may_hold_a_password() {
        let of = |words: &[&str]| typed(words).whole();
        assert_eq!(of(&["run", "my rows.csv", "--rate=5/s"]), "deskload run 'my rows.csv' --rate=5/s");
        assert_eq!(
            of(&["run", "--proxy", "http://u:pw@p", "--token-command", "echo pw", "a.csv"]),
            "deskload run --proxy … --token-command … a.csv"
        );
        assert_eq!(
            of(&["run", "--proxy=http://u:pw@p", "a.csv", "--token-command=echo a=b"]),
            "deskload run --proxy=… a.csv --token-command=…"
        );
        assert_eq!(
            of(&[
                "work",
                "--journal",
                "postgres://u:pw@db:1/d?password=pw&sslmode=require",
                "--journal=postgresql://u:p@w@h"
            ]),
            "deskload work --journal 'postgres://u@db:1/d?sslmode=require' --journal=postgresql://u@h"
        );
        let flags = typed(&["run", "a.csv", "--journal", "postgres://u:pw@db/d"]).flags_for("resume");
        assert_eq!(flags, " --journal postgres://u@db/d");
    }

    #[test]
    fn another_command_gets_the_flags_that_it_takes_too() {
        let typed = typed(&[
            "run",
            "a.csv",
            "--map",
            "staff=Case Owner",
            "-q",
            "--yes",
            "--journal=it's.db",
            "--limit",
            "10",
            "--token-command",
            "echo pw",
            "--ignore-unknown",
            "--profile",
            "night",
        ]);
        let place = r" --journal 'it'\''s.db' --profile night";
        assert_eq!(typed.flags_for("resolve"), place);
        assert_eq!(
            typed.flags_for("resume"),
            r" --journal 'it'\''s.db' --limit 10 --token-command … --profile night"
        );
        assert_eq!(
            of(&typed, &Typed(Vec::new())).run,
            r" --map 'staff=Case Owner' --journal 'it'\''s.db' --token-command … --ignore-unknown --profile night"
        );
    }

    #[test]
    fn what_the_run_was_begun_with_is_added() {
        let begun = typed(&[
            "run",
            "a b.csv",
            "--report-dir",
            "my reports",
            "--in-doubt",
            "resend",
            "--journal",
            "old.db",
            "--map",
            "staff=x",
        ]);
        let begun = Typed(words(&begun.whole()));
        let flags = of(&typed(&["resolve", "7", "--applied", "--journal", "new.db"]), &begun);
        assert_eq!(flags.report, " --journal new.db --report-dir 'my reports'");
        assert_eq!(flags.resolve, " --journal new.db");
        assert_eq!(
            flags.resume, " --journal new.db --report-dir 'my reports'",
            "and no word on what was in doubt then"
        );
        assert_eq!(flags.run, " --journal new.db --report-dir 'my reports' --map staff=x");
        assert_eq!(words(""), Vec::<String>::new());
    }
}
