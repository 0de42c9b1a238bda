//! The rows, as files and as the bodies that they become.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use crate::Result;

/// Who sends.
pub(crate) const ACCOUNT_EMAIL: &str = "bench@example.com";

/// Not a secret: the desk is this program.
pub(crate) const TOKEN: &str = "sandbox-token";

/// The first row's ticket is the one after it.
pub(crate) const TICKETS_FROM: u64 = 1_000;

/// A row's body, as deskload writes it; the desk compares the bytes of all bodies together.
pub(crate) fn body(row: u64) -> String {
    format!(
        r#"{{"account_email":"{ACCOUNT_EMAIL}","token":"{TOKEN}","ticket_id":{},"subject":"row {row}","staff":"{}"}}"#,
        TICKETS_FROM + row,
        staff(row)
    )
}

fn staff(row: u64) -> String {
    format!("ST007-{:03}", row % 40)
}

/// Rows of three columns, each with a ticket of its own; JSONL where the name ends so.
pub(crate) fn write(path: &Path, rows: u64) -> Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    let is_jsonl = path.extension().is_some_and(|ending| ending == "jsonl");
    if !is_jsonl {
        writeln!(out, "ticket_id,subject,staff")?;
    }
    for row in 1..=rows {
        let (ticket, staff) = (TICKETS_FROM + row, staff(row));
        if is_jsonl {
            writeln!(out, r#"{{"ticket_id":{ticket},"subject":"row {row}","staff":"{staff}"}}"#)?;
        } else {
            writeln!(out, "{ticket},row {row},{staff}")?;
        }
    }
    Ok(out.flush()?)
}

/// Rows of six columns, one of them in quotes: what an export looks like.
pub(crate) fn write_wide(path: &Path, rows: u64) -> Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    writeln!(out, "ticket_id,email,priority,subject,staff,custom_fields.CF007-07")?;
    for row in 1..=rows {
        let (ticket, staff) = (TICKETS_FROM + row, staff(row));
        writeln!(out, "{ticket},agent{}@example.com,high,\"Order, {row}\",{staff},Micro", row % 97)?;
    }
    Ok(out.flush()?)
}
