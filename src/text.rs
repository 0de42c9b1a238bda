//! Text from cells and from the desk, made harmless before it reaches a terminal, a page or a spreadsheet.
//!
//! Escapes can repaint a terminal, bidirectional marks can hide what a line says, and a cell that begins with
//! `=` is a formula. Nothing here changes the cells of the input itself: those are kept as they were.

/// How much of somebody else's words is kept, in characters: enough for a sentence, too little for a page.
pub const MESSAGE_CHARS_MAX: usize = 300;

/// One line without control or bidirectional characters, cut to [`MESSAGE_CHARS_MAX`] with an ellipsis.
#[must_use]
pub fn clean(text: &str) -> String {
    cut_clean(text, MESSAGE_CHARS_MAX)
}

/// As [`clean`], but all of it: for our own words around somebody else's.
#[must_use]
pub fn clean_whole(text: &str) -> String {
    cut_clean(text, usize::MAX)
}

/// As [`clean`], cut to so many characters, the ellipsis among them.
#[must_use]
pub fn clean_to(text: &str, chars_max: usize) -> String {
    let mut clean = clean(text);
    if let Some((cut, last)) = clean.char_indices().nth(chars_max.saturating_sub(1))
        && cut + last.len_utf8() < clean.len()
    {
        clean.truncate(cut);
        clean.push('…');
    }
    clean
}

fn cut_clean(text: &str, chars_max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(chars_max));
    let mut kept = 0;
    let mut gap = false;
    for char in text.chars() {
        if char.is_whitespace() || char.is_control() {
            gap = kept > 0;
            continue;
        }
        if is_invisible(char) {
            continue;
        }
        if kept >= chars_max {
            out.push('…');
            break;
        }
        if std::mem::take(&mut gap) {
            out.push(' ');
            kept += 1;
        }
        out.push(char);
        kept += 1;
    }
    out
}

/// Marks that change the direction of text or have no width of their own.
const fn is_invisible(char: char) -> bool {
    matches!(char,
        '\u{00AD}' | '\u{061C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}'
        | '\u{E0000}'..='\u{E007F}')
}

/// What would not be seen as it is, or would begin another line.
fn is_unseen(char: char) -> bool {
    char.is_control() || is_invisible(char) || matches!(char, '\u{2028}' | '\u{2029}')
}

/// The same text with a blank for each tab, and `\u{FFFD}` for every other character that would not be seen as it is:
/// as long as before, so that something can be put under it.
#[must_use]
pub fn visible(text: &str) -> String {
    text.chars()
        .map(|char| match char {
            '\t' => ' ',
            _ if is_unseen(char) => '\u{FFFD}',
            _ => char,
        })
        .collect()
}

/// JSON with an escape for every character that would not be seen as it is: it still means the same, because such
/// characters stand in strings alone.
#[must_use]
pub fn visible_json(json: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(json.len());
    for char in json.chars() {
        if is_unseen(char) {
            for unit in char.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(char);
        }
    }
    out
}

/// A word as a shell takes it for one, to be pasted.
#[must_use]
pub fn shell_word(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,%@+".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", visible(word).replace('\'', r"'\''"))
}

/// As [`clean`], and a spreadsheet will not take it for a formula.
#[must_use]
pub fn clean_cell(text: &str) -> String {
    let text = clean(text);
    if text.starts_with(['=', '+', '-', '@', '|', '%', '＝', '＋', '－', '＠']) {
        return format!("'{text}");
    }
    text
}

/// The longest name that is compared, in bytes: far above any that is meant, and a comparison costs both lengths.
const NAME_BYTES_MAX: usize = 200;

/// The candidate nearest to what was written, if one is near enough to be meant.
pub fn closest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if written.len() > NAME_BYTES_MAX {
        return None;
    }
    let written = written.to_lowercase();
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= NAME_BYTES_MAX)
        .map(|candidate| (strsim::jaro_winkler(&written, &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, candidate)| candidate)
}

/// Names that a message lists, at most.
const LISTED_MAX: usize = 12;

/// Names in quotes, harmless and short: the first ones, and how many more there are.
#[must_use]
pub fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(LISTED_MAX) as u64;
    let shown: Vec<String> =
        names.take(LISTED_MAX).map(|name| format!("\"{}\"", cut_clean(name, NAME_CHARS_SHOWN))).collect();
    match (shown.is_empty(), more) {
        (true, _) => "none".to_owned(),
        (false, 0) => shown.join(", "),
        (false, more) => format!("{} and {} more", shown.join(", "), thousands(more)),
    }
}

/// How much of a listed name is shown.
const NAME_CHARS_SHOWN: usize = 40;

/// A count with its thousands apart, `1,234,567`, as the terminal and the messages print it.
#[must_use]
pub fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 row`, `2 rows`.
#[must_use]
pub fn rows(count: u64) -> String {
    counted(count, "row")
}

/// So many of something whose name takes an s.
#[must_use]
pub fn counted(count: u64, of: &str) -> String {
    format!("{} {of}{}", thousands(count), if count == 1 { "" } else { "s" })
}

/// A duration as people say it: `40s`, `12m 5s`, `3h 20m`, `2d 4h`. Parts of a second are left out above one.
#[must_use]
pub fn duration(duration: std::time::Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{}ms", duration.as_millis()),
        1..60 => format!("{seconds}s"),
        60..3_600 if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        60..3_600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// A moment by the clock on the wall, to the minute: `2026-03-10 22:30`. `unix_ms` is UNIX time in milliseconds.
#[must_use]
pub fn moment(unix_ms: i64) -> String {
    on_clock(unix_ms, jiff::tz::TimeZone::system(), "%Y-%m-%d %H:%M")
}

/// Its day: `2026-03-10`.
#[must_use]
pub fn date(unix_ms: i64) -> String {
    on_clock(unix_ms, jiff::tz::TimeZone::system(), "%Y-%m-%d")
}

/// A moment by the clock of a zone, as strftime has it; one that no calendar has is told as nothing.
pub(crate) fn on_clock(unix_ms: i64, zone: jiff::tz::TimeZone, form: &str) -> String {
    jiff::Timestamp::from_millisecond(unix_ms)
        .map_or_else(|_| String::new(), |at| at.to_zoned_datetime(zone).strftime(form).to_string())
}

/// So many bytes as people say it: `512 bytes`, `34 KB`, `1.2 GB`, in steps of a thousand.
#[must_use]
pub fn bytes(count: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
    let mut shown = count as f64;
    let mut unit = None;
    for next in ["KB", "MB", "GB", "TB"] {
        if shown < 999.5 {
            break;
        }
        shown /= 1_000.0;
        unit = Some(next);
    }
    match unit {
        None => counted(count, "byte"),
        Some(unit) if shown < 9.95 => format!("{shown:.1} {unit}"),
        Some(unit) => format!("{shown:.0} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_direction_marks_do_not_pass() {
        assert_eq!(clean("a\u{1b}[31mred\r\n b\u{202e}c\u{0}"), "a [31mred bc");
        assert_eq!(clean("  outer  "), "outer");
        let long = clean(&"x".repeat(1_000));
        assert_eq!(long.chars().count(), MESSAGE_CHARS_MAX + 1);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn a_cut_text_is_as_long_as_asked_for() {
        assert_eq!(["", "abc", "abcd", "äöüß"].map(|text| clean_to(text, 3)), ["", "abc", "ab…", "äö…"]);
    }

    #[test]
    fn what_would_not_be_seen_is_shown_as_long_as_it_was() {
        assert_eq!(visible("a\tb\u{1b}[1m\u{202e}ü"), "a b\u{FFFD}[1m\u{FFFD}ü");
        let json = visible_json("{\"a\":\"x\u{202e}\u{9b}\u{E0001}ü\"}");
        assert_eq!(json, r#"{"a":"x\u202e\u009b\udb40\udc01ü"}"#);
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&json).unwrap()["a"],
            "x\u{202e}\u{9b}\u{E0001}ü"
        );
    }

    #[test]
    fn a_word_is_quoted_where_a_shell_would_take_it_for_something_else() {
        let told = ["a.csv", "5/s", "", "a  b", "it's", "$HOME", "a;b", "a\nb"].map(shell_word);
        assert_eq!(told, ["a.csv", "5/s", "''", "'a  b'", r"'it'\''s'", "'$HOME'", "'a;b'", "'a\u{FFFD}b'"]);
    }

    #[test]
    fn a_formula_start_is_disarmed() {
        assert_eq!(clean_cell("\t=HYPERLINK(1)"), "'=HYPERLINK(1)");
        assert_eq!(clean_cell("plain"), "plain");
    }

    #[test]
    fn the_closest_name_is_offered_only_if_it_is_close() {
        assert_eq!(closest("Priorty", ["staff", "priority"]), Some("priority"));
        assert_eq!(closest("zzz", ["staff", "priority"]), None);
    }

    #[test]
    fn bytes_are_told_in_two_digits_or_three() {
        let told = [1, 999, 1_000, 34_049, 9_960_000, 999_999, 1_234_567_890].map(bytes);
        assert_eq!(told, ["1 byte", "999 bytes", "1.0 KB", "34 KB", "10 MB", "1.0 MB", "1.2 GB"]);
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }
}
