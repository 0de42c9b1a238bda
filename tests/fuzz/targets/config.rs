//! The configuration: every complaint names the file and is harmless, and none repeats a token.

use std::path::Path;

use deskload::config;
use deskload::error::Error;

use super::assert_tells;

const FILE: &str = "/etc/deskload/fuzz.toml";

/// The corpus has it as the value of `token`, and nobody comes upon it by chance.
const CANARY: &str = "canary-9f3b";

/// First line: the profile that was named, blank for none. Then the file.
pub(super) fn config(data: &[u8]) {
    let (profile, text) = super::split(data);
    let Ok(text) = str::from_utf8(text) else { return };
    let named = (!profile.is_empty() && !profile.chars().any(char::is_control)).then_some(profile.as_str());
    let Err(error) = config::check_text(Path::new(FILE), text, named) else { return };
    let message = error.to_string();
    assert!(matches!(error, Error::Usage(_)), "{error:?}");
    assert!(message.contains(FILE), "{message:?} does not name the file");
    assert_tells(&message);
    if message.starts_with(FILE) {
        let lines = text.matches('\n').count() as u64 + 1;
        assert!((1..=lines).contains(&super::line_named(&message)), "{message:?} of {lines} lines");
    }
    if is_token_alone(text) && !profile.contains(CANARY) {
        assert!(!message.contains(CANARY), "{message:?} repeats the token");
    }
}

/// Whether the canary stands only as a value of `token`, to the right of its equals sign.
fn is_token_alone(text: &str) -> bool {
    // A text over several lines may hold whatever looks like a key.
    let is_plain = !text.contains("'''") && !text.contains("\"\"\"");
    is_plain
        && text.lines().all(|line| {
            let key = line.trim_start().strip_prefix("token").map(str::trim_start);
            !line.contains(CANARY) || key.is_some_and(|rest| rest.starts_with('=') && is_one_key(line))
        })
}

/// No other key can follow on the line.
fn is_one_key(line: &str) -> bool {
    line.matches('=').count() == 1
}
