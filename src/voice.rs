//! What is said while a command works, and in which form: to a person at a terminal, to a log, to a program.
//!
//! Standard error is for people, standard output for programs. A person gets lines that fit the terminal, above the bar if
//! there is one; a log gets each with its time; a program gets one JSON object a line on standard output. `--log-file` gets
//! what a log would get, whatever the form. Nobody may be listening: nothing here fails, and nothing stops a run.
//!
//! A row's text or the desk's words must be made harmless before they get here (see [`crate::text`]).

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::error::{Error, explained};
use crate::progress;
use crate::wrap;

/// In which form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// Lines as they are.
    #[default]
    Person,
    /// Each line with its time.
    Log,
    /// One JSON object a line, on standard output.
    Program,
}

/// How things are said from now on.
#[derive(Debug, Default)]
pub struct Voice {
    /// In which form.
    pub form: Form,
    /// Nothing is said unless something is wrong.
    pub quiet: bool,
    /// `--log-file`
    pub log: Option<File>,
}

#[derive(Debug)]
struct State {
    voice: Voice,
    /// Kept until the end, because the last line is the one that is read.
    last_words: Vec<String>,
    /// The summary as a program is told it.
    summary: Option<String>,
    /// A program has been told how the command ended.
    ended: bool,
}

static STATE: Mutex<State> = Mutex::new(State {
    voice: Voice { form: Form::Person, quiet: false, log: None },
    last_words: Vec::new(),
    summary: None,
    ended: false,
});

fn state() -> MutexGuard<'static, State> {
    // Whoever panicked while holding it was writing a line; the next line is not wrong for that.
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on things are said like this.
pub fn set(voice: Voice) {
    state().voice = voice;
}

/// Something went wrong: from now on the quiet speak, too.
pub fn speak_up() {
    state().voice.quiet = false;
}

/// Opens what `--log-file` names, to add to it; for its owner alone, because it names files and tickets.
pub fn open_log(path: &Path) -> Result<File, Error> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(|error| {
        Error::Usage(format!("failed to open the log file {}: {}", path.display(), explained(&error)))
    })
}

/// Tells something that is good to know.
pub fn say(text: &str) {
    let mut state = state();
    if !state.voice.quiet {
        match state.voice.form {
            Form::Person => progress::above(|| to_stderr(&format!("{}\n", wrap::for_terminal(text)))),
            Form::Log => to_stderr(&stamped(text)),
            Form::Program => to_stdout(&Event { name: "note", at: now(), body: Note { text } }),
        }
    }
    state.log(text);
}

/// Tells what is wrong: to a person or a log even if they asked for quiet, and on standard error in every form.
pub fn complain(text: &str) {
    let mut state = state();
    match state.voice.form {
        Form::Person | Form::Program => {
            progress::above(|| to_stderr(&format!("{}\n", wrap::for_terminal(text))));
        }
        Form::Log => to_stderr(&stamped(text)),
    }
    state.log(text);
}

/// Writes something into the log file alone: a program gets the same as an event.
pub fn write_down(text: &str) {
    state().log(text);
}

/// Keeps a line for the very end.
pub fn say_last(line: String) {
    state().last_words.push(line);
}

/// How a command ended: the error, if there was one, and then what to do next.
pub fn end(error: Option<&Error>) {
    if let Some(error) = error {
        complain(&format!("deskload: {error}"));
        let is_told = std::mem::replace(&mut state().ended, true);
        if !is_told {
            tell("error", Failure { exit_code: error.exit_code(), message: &error.to_string() });
        }
    }
    let last_words = std::mem::take(&mut state().last_words);
    for line in &last_words {
        say(line);
    }
}

/// Tells a program what it can make use of; nobody else.
pub fn tell(event: &'static str, body: impl Serialize) {
    if form() == Form::Program {
        to_stdout(&Event { name: event, at: now(), body });
    }
}

/// Tells a program all there is to tell, how the command ended among it: nothing comes after it.
pub fn tell_last(event: &'static str, body: impl Serialize) {
    tell(event, body);
    state().ended = true;
}

/// Tells a program how a run ended, last of all, and keeps it for who asks ([`summary`]).
pub fn tell_summary(body: impl Serialize) {
    let text = serde_json::to_string(&body).ok();
    tell_last("summary", body);
    state().summary = text;
}

/// The summary that was told, as JSON.
#[must_use]
pub fn summary() -> Option<String> {
    state().summary.clone()
}

/// The form that counts now.
#[must_use]
pub fn form() -> Form {
    state().voice.form
}

#[derive(Serialize)]
struct Event<T> {
    #[serde(rename = "event")]
    name: &'static str,
    at: String,
    #[serde(flatten)]
    body: T,
}

#[derive(Serialize)]
struct Note<'a> {
    text: &'a str,
}

#[derive(Serialize)]
struct Failure<'a> {
    exit_code: u8,
    message: &'a str,
}

impl State {
    fn log(&mut self, text: &str) {
        if let Some(log) = &mut self.voice.log {
            let _ = log.write_all(stamped(text).as_bytes());
        }
    }
}

fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Each line with the time before it.
fn stamped(text: &str) -> String {
    let at = now();
    text.lines().flat_map(|line| [at.as_str(), " ", line, "\n"]).collect()
}

fn to_stderr(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn to_stdout(event: &impl Serialize) {
    // One write a line, so that no reader sees half of one.
    if let Ok(mut line) = serde_json::to_string(event) {
        line.push('\n');
        let _ = std::io::stdout().write_all(line.as_bytes());
    }
}

/// Where the diagnostics of `-v` go: standard error, above the bar.
#[derive(Debug)]
pub struct Diagnostics;

impl std::io::Write for Diagnostics {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        progress::above(|| {
            let _ = std::io::stderr().write_all(bytes);
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Where they go besides: the log file, if there is one.
#[derive(Debug)]
pub struct Logged;

impl std::io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if let Some(log) = &mut state().voice.log {
            let _ = log.write_all(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
