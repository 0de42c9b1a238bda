//! Bytes of whatever encoding to UTF-8, or an error: never a replacement character in a ticket.
//!
//! The crate's decoders follow the browsers' standard, which has a character for each byte of windows-1252, the five
//! that Microsoft left out among them: those become control characters that no sheet holds, and are refused here, too.
//! This must not be used for UTF-8: a row that is not UTF-8 is that row's trouble.

use encoding_rs::{DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};

use super::UTF8_BOM;

/// Reads what `--encoding` says, and gives the encoding's own name.
pub fn parse_encoding(label: &str) -> Result<String, String> {
    match Encoding::for_label_no_replacement(label.trim().as_bytes()) {
        Some(encoding) => Ok(encoding.name().to_owned()),
        None => Err(format!(
            "{label:?} is not an encoding that is known here; common ones are utf-8, utf-16le, windows-1252 (Western \
             Excel), windows-1250 (Central Europe), windows-1251 (Cyrillic), shift_jis"
        )),
    }
}

/// How an input's bytes are read: the encoding, `None` for UTF-8, and how long its byte order mark is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chosen {
    pub(super) encoding: Option<&'static Encoding>,
    pub(super) mark: usize,
    /// What the mark says, if nobody would expect it.
    pub(super) surprising: Option<&'static str>,
}

/// Decides by the first bytes, else by what was typed. A byte order mark is beyond doubt, and wins: so a failures file,
/// which begins with one, can go through the command that its input came through.
pub(super) fn choose(head: &[u8], typed: Option<&str>) -> Chosen {
    let (marked, mark) = match head {
        [0xFF, 0xFE, ..] => (Some(UTF_16LE), 2),
        [0xFE, 0xFF, ..] => (Some(UTF_16BE), 2),
        _ if head.starts_with(UTF8_BOM) => (Some(UTF_8), UTF8_BOM.len()),
        _ => (None, 0),
    };
    let typed = typed.and_then(|name| Encoding::for_label_no_replacement(name.as_bytes()));
    let surprising = marked.filter(|marked| *marked != typed.unwrap_or(UTF_8)).map(Encoding::name);
    Chosen { encoding: marked.or(typed).filter(|encoding| *encoding != UTF_8), mark, surprising }
}

/// Decodes chunk by chunk.
pub(super) struct Decoder {
    state: encoding_rs::Decoder,
    encoding: &'static Encoding,
    out: String,
    line: u64,
    /// Characters of the current line so far.
    characters: usize,
}

impl Decoder {
    pub(super) fn new(encoding: &'static Encoding) -> Self {
        Self {
            state: encoding.new_decoder_without_bom_handling(),
            encoding,
            out: String::new(),
            line: 1,
            characters: 0,
        }
    }

    /// Decodes the next bytes; the last ones with `is_last`. The error is a fragment with line and character.
    pub(super) fn decode(&mut self, bytes: &[u8], is_last: bool) -> Result<&str, String> {
        self.out.clear();
        let room = self.state.max_utf8_buffer_length_without_replacement(bytes.len());
        self.out.reserve(room.unwrap_or(bytes.len().saturating_mul(3)));
        let (result, read) = self.state.decode_to_string_without_replacement(bytes, &mut self.out, is_last);
        let control = self.out.find(|char| matches!(char, '\u{80}'..='\u{9F}'));
        let bad = match (control, result) {
            (Some(at), _) => {
                self.out.get(at..).and_then(|rest| rest.chars().next()).map(|char| (at, u32::from(char)))
            }
            (None, DecoderResult::Malformed(length, after)) => {
                let at = read.saturating_sub(usize::from(length) + usize::from(after));
                Some((self.out.len(), bytes.get(at).copied().map_or(0, u32::from)))
            }
            (None, DecoderResult::InputEmpty | DecoderResult::OutputFull) => None,
        };
        let good = bad.map_or(self.out.len(), |(at, _)| at);
        self.walk(good);
        match bad {
            Some((_, byte)) => Err(format!(
                "line {}, character {}: the byte 0x{byte:02X} is no text in {}; {}",
                self.line,
                self.characters + 1,
                self.encoding.name(),
                self.advice()
            )),
            None => Ok(&self.out),
        }
    }

    fn walk(&mut self, to: usize) {
        for char in self.out.get(..to).unwrap_or_default().chars() {
            self.characters += 1;
            if char == '\n' {
                (self.line, self.characters) = (self.line + 1, 0);
            }
        }
    }

    fn advice(&self) -> String {
        let other = if self.encoding.name() == "windows-1252" { "utf-8" } else { "windows-1252" };
        format!("try --encoding {other}, or save the file as UTF-8")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(label: &str, chunks: &[&[u8]]) -> Result<String, String> {
        let mut decoder = Decoder::new(Encoding::for_label(label.as_bytes()).unwrap());
        let mut text = String::new();
        for (index, chunk) in chunks.iter().enumerate() {
            text += decoder.decode(chunk, index + 1 == chunks.len())?;
        }
        Ok(text)
    }

    #[test]
    fn text_is_decoded_across_chunks() {
        assert_eq!(decoded("windows-1252", &[b"M\xFCller \x80", b"5"]).unwrap(), "Müller €5");
        assert_eq!(decoded("utf-16le", &[b"a", b"\0\x3D\xD8", b"\x00\xDE"]).unwrap(), "a😀");
        assert_eq!(decoded("shift_jis", &[b"\x93", b"\xFA"]).unwrap(), "日");
    }

    #[test]
    fn a_byte_that_does_not_decode_is_named_with_its_place() {
        let told = decoded("windows-1252", &[b"a\nbc", b"d\x81e"]).unwrap_err();
        assert!(told.starts_with("line 2, character 4: the byte 0x81 is no text in windows-1252"), "{told}");
        let told = decoded("shift_jis", &[b"a\nb\xFF"]).unwrap_err();
        assert!(told.starts_with("line 2, character 2: the byte 0xFF"), "{told}");
        assert!(decoded("utf-16le", &[b"a\0b"]).is_err(), "half a character at the end");
    }

    #[test]
    fn a_byte_order_mark_wins_over_what_was_typed() {
        let chosen = |head: &[u8], typed| {
            let chosen = choose(head, typed);
            (chosen.encoding.map(Encoding::name), chosen.surprising)
        };
        assert_eq!(chosen(b"\xFF\xFEa\0", Some("windows-1252")), (Some("UTF-16LE"), Some("UTF-16LE")));
        assert_eq!(chosen(b"\xEF\xBB\xBFa", Some("windows-1252")), (None, Some("UTF-8")));
        assert_eq!(chosen(b"\xEF\xBB\xBFa", None), (None, None));
        assert_eq!(chosen(b"a", Some("windows-1252")), (Some("windows-1252"), None));
    }
}
