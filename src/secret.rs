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

    /// Takes the token out of somebody else's words, plain or however JSON and URLs may escape it.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        let plain = self.expose();
        let mut clean = text.replace(plain, REDACTED);
        if clean.contains('\\') {
            clean = replace_escaped(&clean, plain);
        }
        let percent = percent_encoded(plain);
        if percent != plain {
            clean = clean.replace(&percent, REDACTED);
        }
        clean
    }
}

/// JSON has many spellings for one text (`\/` and `\u00e9` are common), and the reader of a reply undoes them all.
fn replace_escaped(text: &str, token: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if let Some(length) = spelled_length(rest, token) {
            out.push_str(REDACTED);
            length
        } else {
            out.push(first);
            first.len_utf8()
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    out
}

/// How much of `text` spells the token, if it begins with it.
fn spelled_length(text: &str, token: &str) -> Option<usize> {
    let mut rest = text;
    for wanted in token.chars() {
        let (char, length) = first_character(rest)?;
        if char != wanted {
            return None;
        }
        rest = rest.get(length..)?;
    }
    Some(text.len() - rest.len())
}

/// The first character that a JSON string of this text would hold, and how much of the text it takes.
fn first_character(text: &str) -> Option<(char, usize)> {
    let Some(escaped) = text.strip_prefix('\\') else {
        return text.chars().next().map(|char| (char, char.len_utf8()));
    };
    let letter = escaped.chars().next()?;
    let char = match letter {
        'u' => return unicode_escape(text),
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        other => other,
    };
    Some((char, 1 + letter.len_utf8()))
}

/// `\u` and four digits, twice for a character beyond the first 65,536.
fn unicode_escape(text: &str) -> Option<(char, usize)> {
    let unit = |from: usize| {
        let digits = text.get(from..from + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let units = unit(0).into_iter().chain(unit(6));
    let char = char::decode_utf16(units).next()?.ok()?;
    Some((char, char.len_utf16() * 6))
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
        for echo in [
            "sent a\"b/ü!",
            r#"sent a\"b/ü!"#,
            r#"sent a\"b\/\u00fc!"#,
            r"sent \u0061\u0022\u0062\u002F\u00FC!",
            "sent a%22b%2F%C3%BC!",
        ] {
            assert_eq!(token.redact(echo), "sent [token]!", "{echo}");
        }
        for other in [r"\", r#"a\"b\/\u00"#, r#"a\"b\/\ud83d"#, r"\u00e9a\x", r"\u😀"] {
            assert_eq!(token.redact(other), other);
        }
        assert_eq!(format!("{token:?}"), "[token]");
        assert!(Token::new("  \n".to_owned()).is_none());
        let beyond = Token::new("k😀y".to_owned()).unwrap();
        assert_eq!(beyond.redact(r#"{"x":"k\ud83d\ude00y"}"#), r#"{"x":"[token]"}"#);
    }
}
