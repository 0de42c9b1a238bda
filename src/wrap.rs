//! Long lines are broken where a person would: between words, in an address behind a stroke, in JSON behind a member or in
//! a text of it. A command is not, because it is there to be copied, nor is a path in a sentence.

use console::{Term, measure_text_width};

/// How much further the rest of a broken line is set in.
const HANG: usize = 2;

/// The text as it fits the terminal that standard error is, or as it is.
pub(crate) fn for_terminal(text: &str) -> String {
    match Term::stderr().size_checked() {
        Some((_, width)) => wrapped(text, width.into()),
        None => text.to_owned(),
    }
}

/// The text in lines of at most this width, but for words that are wider.
pub(crate) fn wrapped(text: &str, width: usize) -> String {
    let line = |line: &str| {
        let indent = line.len() - line.trim_start().len();
        let room = width.saturating_sub(indent + HANG);
        let words = words(&line[indent..]).into_iter();
        let parts = words.flat_map(|word| if word.contains("://") { parts(word, room) } else { vec![word] });
        filled(line, indent, indent + HANG, parts, width)
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// The text of a table's cell, broken in long words, too, where that can be read.
pub(crate) fn cell(text: &str, width: usize) -> String {
    let parts = text.split_inclusive(' ').flat_map(|word| parts(word, width));
    filled(text, 0, 0, parts, width)
}

/// JSON on one line, broken behind its members and between words, to be read; where a member is wider than a line, behind its
/// key, too.
pub(crate) fn json(json: &str, width: usize) -> String {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut quoted, mut escaped) = (false, false);
    for (at, char) in json.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            // A blank in a text may be broken at, too: that is better than anywhere.
            ' ' if quoted => parts.push(&json[std::mem::replace(&mut start, at + 1)..=at]),
            ',' if !quoted => parts.push(&json[std::mem::replace(&mut start, at + 1)..=at]),
            _ => {}
        }
    }
    parts.push(&json[start..]);
    let room = width.saturating_sub(HANG);
    let parts = parts.into_iter().flat_map(|part| match part.find("\":") {
        Some(key) if measure_text_width(part.trim_end()) > room => {
            let (key, value) = part.split_at(key + 2);
            [key, value]
        }
        _ => [part, ""],
    });
    filled(json, 0, HANG, parts, width)
}

/// Puts as many parts into each line as it holds.
fn filled<'a>(
    line: &'a str,
    indent: usize,
    hang: usize,
    parts: impl Iterator<Item = &'a str>,
    width: usize,
) -> String {
    if measure_text_width(line) <= width {
        return line.to_owned();
    }
    let mut filled = line[..indent].to_owned();
    let mut used = indent;
    for part in parts {
        if used > hang && used + measure_text_width(part.trim_end()) > width {
            filled.truncate(filled.trim_end().len());
            filled.push('\n');
            filled.extend(std::iter::repeat_n(' ', hang));
            used = hang;
        }
        filled.push_str(part);
        used += measure_text_width(part);
    }
    filled
}

/// A word that is wider than the room in parts that end where it can be broken; else the word.
fn parts(word: &str, room: usize) -> Vec<&str> {
    if measure_text_width(word.trim_end()) <= room {
        return vec![word];
    }
    let scheme = word.find("://").map_or(0, |at| at + "://".len());
    let ends = ['/', '_', '-', '.', '@', '=', ',', '&'];
    let first = word[scheme..].find(ends).map_or(word.len(), |at| scheme + at + 1);
    std::iter::once(&word[..first]).chain(word[first..].split_inclusive(ends)).collect()
}

/// The words, each with the blanks behind it; a command at the start or behind a colon is one, up to the remark in brackets
/// behind it.
fn words(line: &str) -> Vec<&str> {
    let behind_colon = || line.find(": deskload ").map_or(line.len(), |at| at + 2);
    let start = if line.starts_with("deskload ") { 0 } else { behind_colon() };
    let end = line[start..].find(" (").map_or(line.len(), |at| start + at + 1);
    let command = Some(&line[start..end]).filter(|command| !command.is_empty());
    line[..start].split_inclusive(' ').chain(command).chain(line[end..].split_inclusive(' ')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_broken_between_words_and_keeps_its_indent() {
        assert_eq!(wrapped("one two three", 13), "one two three");
        assert_eq!(wrapped("one two three four\n\nfive\n", 13), "one two three\n  four\n\nfive\n");
        assert_eq!(wrapped("  1 failed: Ticket not found", 20), "  1 failed: Ticket\n    not found");
        assert_eq!(wrapped("to /a/path/that/is/long it went", 12), "to\n  /a/path/that/is/long\n  it went");
    }

    #[test]
    fn a_command_is_left_whole() {
        let line = "look, then: deskload resolve 1 --applied (or --skip)";
        assert_eq!(wrapped(line, 20), "look, then:\n  deskload resolve 1 --applied\n  (or --skip)");
        assert_eq!(wrapped("  deskload status --journal x", 20), "  deskload status --journal x");
        assert_eq!(wrapped("deskload: a long text", 12), "deskload: a\n  long text");
    }

    #[test]
    fn an_address_is_broken_behind_a_stroke_and_a_path_is_not() {
        let line = "to http://127.0.0.1:8008/app/api/v1/update/, pace 1/s";
        assert_eq!(wrapped(line, 30), "to http://127.0.0.1:8008/app/\n  api/v1/update/, pace 1/s");
        assert_eq!(
            wrapped("to send to http://127.0.0.1/app/", 16),
            "to send to\n  http://127.0.\n  0.1/app/"
        );
        assert_eq!(cell("/home/ops/deskload-reports", 12), "/home/ops/\ndeskload-\nreports");
    }

    #[test]
    fn json_is_broken_behind_its_members_and_between_words() {
        let line = r#"{"a":"x, \"y","b":[1,2],"c":"one two three four"}"#;
        let broken = json(line, 20);
        assert_eq!(broken, "{\"a\":\"x, \\\"y\",\n  \"b\":[1,2],\"c\":\"one\n  two three four\"}");
        assert_eq!(json(line, 60), line);
        let line = r#"{"account_email":"operations-night-shift@example.com","a":1}"#;
        assert_eq!(
            json(line, 40),
            "{\"account_email\":\n  \"operations-night-shift@example.com\",\n  \"a\":1}"
        );
    }
}
