//! Reads the desk's own account and says what happened: the judge of every promise.
//!
//! It knows what reached the desk and nothing of what the program believes. It reads line by line; what it keeps
//! is a time for each request and the text of each change that took effect. A last line without an end, which
//! a killed machine may leave, is passed over; any other line that is no entry is an error.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use super::log::Line;
pub use super::log::Word;
use crate::error::Error;

/// How many of the updates that took effect twice are named.
const EXAMPLES_MAX: usize = 10;

/// What a log says.
#[derive(Clone, Debug, Default)]
pub struct Judgement {
    /// Everything that arrived.
    pub requests: u64,
    /// Requests by what became of them; a word that never occurred is missing.
    pub by_word: BTreeMap<Word, u64>,
    /// How often a change took effect.
    pub applied: u64,
    /// How many different updates, ticket and change together, took effect.
    pub distinct: u64,
    /// How many updates took effect more than once. Only where the input held no row twice is that a fault.
    pub applied_twice: u64,
    /// Some of them, in the order of ticket and change.
    pub examples: Vec<Repeat>,
    /// The most requests that arrived within any one second.
    pub worst_second: u64,
    /// From the first request to the last, in seconds.
    pub seconds: f64,
    changes: HashMap<u64, Vec<Box<str>>>,
}

/// An update that took effect more than once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Repeat {
    /// The ticket.
    pub ticket: u64,
    /// The change, as the log has it.
    pub change: Box<str>,
    /// How often.
    pub times: u64,
}

impl Judgement {
    /// Reads a log. A sandbox may still be writing to it: what is there by then is judged.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let failed = |error: &std::io::Error| Error::file("read the sandbox's log", path, error);
        let mut file = BufReader::with_capacity(1 << 16, File::open(path).map_err(|error| failed(&error))?);
        let (mut judgement, mut times, mut line) = (Self::default(), Vec::new(), Vec::new());
        loop {
            line.clear();
            file.read_until(b'\n', &mut line).map_err(|error| failed(&error))?;
            if line.last() != Some(&b'\n') {
                break;
            }
            judgement.requests += 1;
            let entry: Line<'_> = serde_json::from_slice(&line).map_err(|_| {
                let (line, path) = (judgement.requests, path.display());
                Error::Machine(format!(
                    "failed to read the sandbox's log: line {line} of {path} is no entry of it"
                ))
            })?;
            times.push(micros(entry.at));
            judgement.take(&entry);
        }
        judgement.weigh_repeats();
        judgement.weigh_times(times);
        Ok(judgement)
    }

    /// The changes that took effect on a ticket, in that order.
    #[must_use]
    pub fn order(&self, ticket: u64) -> &[Box<str>] {
        self.changes.get(&ticket).map_or(&[], Vec::as_slice)
    }

    /// The tickets on which a change took effect, in no order.
    pub fn tickets(&self) -> impl Iterator<Item = u64> {
        self.changes.keys().copied()
    }

    /// How many requests ended so.
    #[must_use]
    pub fn count(&self, word: Word) -> u64 {
        self.by_word.get(&word).copied().unwrap_or(0)
    }

    /// Requests a second between the first and the last, the first not counted; `None` with fewer than two, or if
    /// they came at the same microsecond.
    #[must_use]
    pub fn steady_rate(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "a count of requests is far below 2^53")]
        let gaps = self.requests.saturating_sub(1) as f64;
        (self.seconds > 0.0).then(|| gaps / self.seconds)
    }

    fn take(&mut self, entry: &Line<'_>) {
        *self.by_word.entry(entry.word).or_default() += 1;
        if let (true, Some(ticket)) = (entry.applied, entry.ticket) {
            self.applied += 1;
            self.changes.entry(ticket).or_default().push(entry.change.get().into());
        }
    }

    fn weigh_repeats(&mut self) {
        for (ticket, changes) in &self.changes {
            let mut times: HashMap<&str, u64> = HashMap::with_capacity(changes.len());
            for change in changes {
                *times.entry(change).or_default() += 1;
            }
            self.distinct += times.len() as u64;
            for (change, times) in times.into_iter().filter(|(_, times)| *times > 1) {
                self.applied_twice += 1;
                self.examples.push(Repeat { ticket: *ticket, change: change.into(), times });
            }
        }
        self.examples.sort_unstable();
        self.examples.truncate(EXAMPLES_MAX);
    }

    fn weigh_times(&mut self, mut times: Vec<i64>) {
        // Several desks may have shared the log, each with a clock of its own.
        times.sort_unstable();
        let mut first = 0;
        for (last, time) in times.iter().enumerate() {
            while times.get(first).is_some_and(|earliest| time - earliest >= MICROS_A_SECOND) {
                first += 1;
            }
            self.worst_second = self.worst_second.max((last - first + 1) as u64);
        }
        if let (Some(first), Some(last)) = (times.first(), times.last()) {
            #[expect(clippy::cast_precision_loss, reason = "microseconds of a log's span are far below 2^53")]
            let span = (last - first) as f64;
            self.seconds = span / 1e6;
        }
    }
}

const MICROS_A_SECOND: i64 = 1_000_000;

/// The log has six decimals, which a double holds for the next 200 years.
#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and no log reaches that far")]
fn micros(at: f64) -> i64 {
    (at * 1e6).round() as i64
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn judge(text: &str) -> Result<Judgement, Error> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Judgement::read(file.path())
    }

    fn line(at: &str, ticket: u64, change: &str, applied: bool, fate: &str) -> String {
        format!(
            r#"{{"seq":1,"at":{at},"ticket":{ticket},"change":{change},"status":200,"applied":{applied},"fate":"{fate}"}}"#
        ) + "\n"
    }

    #[test]
    fn an_update_that_took_effect_twice_is_found_and_named() {
        let (a, b) = (r#"{"staff":"a"}"#, r#"{"staff":"b"}"#);
        let judgement = judge(
            &[
                line("1.0", 7, a, true, "dropped"),
                line("1.1", 8, a, true, "applied"),
                line("1.2", 7, b, true, "applied"),
                line("1.3", 7, a, true, "scripted"),
                line("1.4", 9, a, false, "refused"),
            ]
            .concat(),
        )
        .unwrap();
        assert_eq!((judgement.requests, judgement.applied, judgement.distinct), (5, 4, 3));
        assert_eq!(judgement.applied_twice, 1);
        assert_eq!(judgement.examples, [Repeat { ticket: 7, change: a.into(), times: 2 }]);
        assert_eq!(judgement.order(7), [a.into(), b.into(), a.into()]);
        assert_eq!(judgement.order(9), []);
        assert_eq!(judgement.count(Word::Refused), 1);
        assert_eq!(judgement.count(Word::Throttled), 0);
    }

    #[test]
    fn the_worst_second_slides_and_leaves_out_its_end() {
        let times = ["100.000000", "100.900000", "101.000000", "101.100000", "101.899999", "103.000000"];
        let judgement = judge(&times.map(|at| line(at, 1, "{}", false, "refused")).concat()).unwrap();
        assert_eq!(judgement.worst_second, 4);
        assert!((judgement.seconds - 3.0).abs() < 1e-9);
        assert!((judgement.steady_rate().unwrap() - 5.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn a_torn_last_line_is_passed_over_and_any_other_is_an_error() {
        let good = line("1.0", 7, "{}", true, "applied");
        assert_eq!(judge(&format!("{good}{}", &good[..20])).unwrap().requests, 1);
        let error = judge(&format!("{good}{}\n{good}", &good[..20])).unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }

    #[test]
    fn an_empty_log_is_a_judgement_of_nothing() {
        let judgement = judge("").unwrap();
        assert_eq!((judgement.requests, judgement.worst_second, judgement.steady_rate()), (0, 0, None));
    }
}
