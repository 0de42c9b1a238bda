//! Long lines on a terminal are broken between words; a command is not, because it is there to be copied.

use console::{Term, measure_text_width};

/// How much further the rest of a broken line is set in.
const HANG: usize = 2;

/// The text as it fits the terminal that standard error is, or as it is.
pub(super) fn for_terminal(text: &str) -> String {
    match Term::stderr().size_checked() {
        Some((_, width)) => wrapped(text, width.into()),
        None => text.to_owned(),
    }
}

fn wrapped(text: &str, width: usize) -> String {
    text.split('\n').map(|line| wrapped_line(line, width)).collect::<Vec<_>>().join("\n")
}

fn wrapped_line(line: &str, width: usize) -> String {
    if measure_text_width(line) <= width {
        return line.to_owned();
    }
    let indent = line.len() - line.trim_start().len();
    let hang = indent + HANG;
    let mut wrapped = line[..indent].to_owned();
    let mut used = indent;
    for word in words(&line[indent..]) {
        if used > hang && used + measure_text_width(word.trim_end()) > width {
            wrapped.truncate(wrapped.trim_end().len());
            wrapped.push('\n');
            wrapped.extend(std::iter::repeat_n(' ', hang));
            used = hang;
        }
        wrapped.push_str(word);
        used += measure_text_width(word);
    }
    wrapped
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
}
