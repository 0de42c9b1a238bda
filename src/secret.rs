//! The token, so wrapped that it cannot be printed by accident.
//!
//! It stands in the body of every request and nowhere else. Nothing here may offer it to `Debug`, `Display`
//! or serde; the one way to it is [`Token::expose`], whose callers can be counted.

use std::fmt;

use zeroize::Zeroizing;

/// The desk's API key. Its memory is wiped when it is dropped.
#[derive(Clone)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// Takes what a file, a command or the environment gave; outer white space is no part of it.
    /// `None` if nothing is left.
    #[must_use]
    pub fn new(text: String) -> Option<Self> {
        let text = Zeroizing::new(text);
        let trimmed = text.trim();
        (!trimmed.is_empty()).then(|| Self(Zeroizing::new(trimmed.to_owned())))
    }

    /// The secret itself, for the body of a request.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Takes the token out of somebody else's words, plain or as JSON and URLs would escape it.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        let plain = self.expose();
        let json = serde_json::to_string(plain).unwrap_or_default();
        let json = json.trim_matches('"');
        let mut clean = text.replace(plain, REDACTED);
        if json != plain {
            clean = clean.replace(json, REDACTED);
        }
        let percent = percent_encoded(plain);
        if percent != plain {
            clean = clean.replace(&percent, REDACTED);
        }
        clean
    }
}

const REDACTED: &str = "[token]";

fn percent_encoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_taken_out_however_it_is_escaped() {
        let token = Token::new(" a\"b/ü \n".to_owned()).unwrap();
        for echo in ["sent a\"b/ü!", r#"sent a\"b/ü!"#, "sent a%22b%2F%C3%BC!"] {
            assert_eq!(token.redact(echo), "sent [token]!");
        }
        assert_eq!(format!("{token:?}"), "[token]");
        assert!(Token::new("  \n".to_owned()).is_none());
    }
}
