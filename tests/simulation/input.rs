//! The inputs of a simulated life: few tickets, so that lanes matter; rows that are invalid, equal, or span
//! lines, so that the spool is read as it will be.

use fastrand::Rng;

/// What a row of the input is, as its author knows it.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) ticket: u64,
    pub(crate) staff: String,
    pub(crate) subject: String,
    pub(crate) valid: bool,
}

/// Draws an input. Of 256 rows, so many ask the same as rows of `before`, the nights before.
pub(crate) fn draw(rng: &mut Rng, before: &[Line], alike: u8) -> (String, Vec<Line>) {
    // The reader hands rows on in chunks of 64; now and then there are several chunks.
    let count = if rng.u8(..) < 10 { rng.usize(65..=160) } else { rng.usize(5..=40) };
    let tickets = [1, 3, 8, 16, 64][rng.usize(..5)];
    let invalid_percent = [0, 0, 5, 20][rng.usize(..4)];
    let mut text = String::from("ticket_id,staff,subject\n");
    let mut lines = Vec::with_capacity(count);
    for _ in 0..count {
        if rng.u8(..) < 8 {
            text.push('\n'); // A blank line is no row.
        }
        let old = (rng.u8(..) < alike).then(|| rng.choice(before)).flatten().filter(|line| line.valid);
        let mut line = old.cloned().unwrap_or_else(|| fresh(rng, tickets));
        line.valid = rng.u8(..100) >= invalid_percent;
        let Line { ticket, staff, subject, .. } = &line;
        let record = if line.valid {
            format!("{ticket:05},{staff},\"{subject}\"\n")
        } else {
            match rng.u8(..3) {
                0 => format!("#{ticket},{staff},\n"),
                1 => format!("{ticket},,\n"),
                _ => format!("{ticket},{staff}\n"),
            }
        };
        text.push_str(&record);
        lines.push(line);
    }
    (text, lines)
}

fn fresh(rng: &mut Rng, tickets: u64) -> Line {
    let ticket = rng.u64(1..=tickets);
    // Few values, so that equal updates come by themselves.
    let staff = format!("ST{}", rng.u8(..4));
    let subject = match rng.u8(..8) {
        0 => "two\nlines".to_owned(),
        1 => "a, b".to_owned(),
        other => format!("S{other}"),
    };
    Line { ticket, staff, subject, valid: true }
}
