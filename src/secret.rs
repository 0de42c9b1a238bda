//! The token, so wrapped that it cannot be printed by accident.
//!
//! It stands in the body of every request and nowhere else. Nothing here may offer it to `Debug`, `Display`
//! or serde; the one way to it is [`Token::expose`], whose callers can be counted.

use std::fmt;

use zeroize::Zeroizing;

/// The desk's API key. Its memory is wiped when it is dropped.
#[derive(Clone)]
pub struct Token(Zeroizing<String>);

/// Why a text cannot be a token. Neither sentence quotes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoToken {
    /// Nothing is left without the white space around it.
    #[error("it is empty")]
    Blank,
    /// Two lines, say: more than a token was pasted.
    #[error(
        "it holds a line break or another control character, so it is not a token; leave the token alone in it"
    )]
    Control,
}

impl Token {
    /// Takes what a file, a command or the environment gave; outer white space is no part of it.
    pub fn new(text: String) -> Result<Self, NoToken> {
        let text = Zeroizing::new(text);
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(NoToken::Blank);
        }
        if trimmed.chars().any(char::is_control) {
            return Err(NoToken::Control);
        }
        Ok(Self(Zeroizing::new(trimmed.to_owned())))
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
            clean = replace_spelled(&clean, |text| escaped_length(text, plain));
        }
        if clean.contains('%') {
            clean = replace_spelled(&clean, |text| percent_length(text, plain));
        }
        clean
    }
}

/// Takes out whatever `length` takes for the token at the beginning of a text.
fn replace_spelled(text: &str, length: impl Fn(&str) -> Option<usize>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let taken = if let Some(spelled) = length(rest) {
            out.push_str(REDACTED);
            spelled
        } else {
            out.push(first);
            first.len_utf8()
        };
        rest = rest.get(taken..).unwrap_or_default();
    }
    out
}

/// How often a reply may quote the request inside another text, which escapes the escapes.
const QUOTED_MAX: usize = 3;

/// How much of `text` spells the token, if it begins with it. JSON has many spellings for one text (`\/` and
/// `\u00e9` are common), and the reader of a reply undoes them all.
fn escaped_length(text: &str, token: &str) -> Option<usize> {
    let of = |levels| {
        let mut rest = text;
        for wanted in token.chars() {
            let (char, length) = character(rest, levels)?;
            if char != wanted {
                return None;
            }
            rest = rest.get(length..)?;
        }
        Some(text.len() - rest.len())
    };
    (1..=QUOTED_MAX).find_map(of)
}

/// The first character that this text would give when its JSON escapes are undone so many times, and how much of the
/// text it takes.
fn character(text: &str, levels: usize) -> Option<(char, usize)> {
    let Some(inner) = levels.checked_sub(1) else {
        return text.chars().next().map(|char| (char, char.len_utf8()));
    };
    let (first, mut used) = character(text, inner)?;
    if first != '\\' {
        return Some((first, used));
    }
    let mut next = || {
        let (char, length) = character(text.get(used..)?, inner)?;
        used += length;
        Some(char)
    };
    let char = match next()? {
        'u' => {
            let high = code_unit(&mut next)?;
            // A character beyond the first 65,536 is written as two.
            let is_first_of_two = (0xD800..0xDC00).contains(&high) && next()? == '\\' && next()? == 'u';
            let low = is_first_of_two.then(|| code_unit(&mut next)).flatten();
            char::decode_utf16([high].into_iter().chain(low)).next()?.ok()?
        }
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        other => other,
    };
    Some((char, used))
}

/// The four digits behind `\u`.
fn code_unit(next: &mut impl FnMut() -> Option<char>) -> Option<u16> {
    (0..4).try_fold(0, |unit, _| Some(unit << 4 | u16::try_from(next()?.to_digit(16)?).ok()?))
}

/// How much of `text` spells the token as an address would, if it begins with it: any of its bytes may be a `%` and
/// two digits in either case, because nobody agrees on which must.
fn percent_length(text: &str, token: &str) -> Option<usize> {
    let mut rest = text.as_bytes();
    for wanted in token.bytes() {
        rest = match rest {
            [byte, after @ ..] if *byte == wanted => after,
            [b'%', high, low, after @ ..] if hex(*high)? * 16 + hex(*low)? == wanted => after,
            _ => return None,
        };
    }
    Some(text.len() - rest.len())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| value.try_into().ok())
}

const REDACTED: &str = "[token]";

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
            "sent a%22b%2f%c3%bc!",
            "sent %61%22b/%C3%bc!",
        ] {
            assert_eq!(token.redact(echo), "sent [token]!", "{echo}");
        }
        for other in [
            r"\",
            r#"a\"b\/\u00"#,
            r#"a\"b\/\ud83d"#,
            r"\u00e9a\x",
            r"\u😀",
            "a%22b%2F%C3",
            "100% %zz %é",
            "%",
        ] {
            assert_eq!(token.redact(other), other);
        }
        assert_eq!(format!("{token:?}"), "[token]");
        let beyond = Token::new("k😀y".to_owned()).unwrap();
        assert_eq!(beyond.redact(r#"{"x":"k\ud83d\ude00y"}"#), r#"{"x":"[token]"}"#);
    }

    #[test]
    fn the_token_is_taken_out_of_a_request_that_is_quoted_in_a_text_in_a_text() {
        for plain in ["a\"b/\u{fc}", "k\u{1f600}y\\", "plain"] {
            let token = Token::new(plain.to_owned()).unwrap();
            let mut echo = serde_json::json!({ "token": plain }).to_string();
            for _ in 0..QUOTED_MAX {
                let told = token.redact(&echo);
                assert!(told.contains(REDACTED), "{echo} became {told}");
                echo = serde_json::to_string(&echo).unwrap();
            }
        }
        let token = Token::new("a\u{fc}\u{1f600}".to_owned()).unwrap();
        assert_eq!(token.redact(r"x \\u0061\\u00fc\\ud83d\\ude00 y"), "x [token] y");
    }

    #[test]
    fn what_cannot_be_a_token_is_refused() {
        for blank in ["", "  \n"] {
            assert_eq!(Token::new(blank.to_owned()).unwrap_err(), NoToken::Blank);
        }
        for wrong in ["one\ntwo", "one\r\ntwo", "tok\0en", "tok\ten", "tok\u{1b}[31men"] {
            assert_eq!(Token::new(wrong.to_owned()).unwrap_err(), NoToken::Control, "{wrong:?}");
        }
        assert_eq!(Token::new("tok en\r\n".to_owned()).unwrap().expose(), "tok en");
    }
}
