//! Cells that hold no value but the reason why there is none: a spreadsheet's errors.
//!
//! They reach CSV exports as plain text, and would become a ticket's subject. What is read from a spreadsheet has two more
//! of them, written here in the same manner, because whoever reads the copy of the input has nothing but its text. A row
//! with such a text is invalid in every input, a file of failures that was not corrected among them.

/// What spreadsheets write where a formula has no result; always in English inside of an `.xlsx`.
const ERRORS: [&str; 14] = [
    "#N/A",
    "#REF!",
    "#VALUE!",
    "#DIV/0!",
    "#NAME?",
    "#NUM!",
    "#NULL!",
    "#SPILL!",
    "#CALC!",
    "#FIELD!",
    "#BLOCKED!",
    "#CONNECT!",
    "#UNKNOWN!",
    "#GETTING_DATA",
];

/// Stands before a number that has lost digits.
const LOST_DIGITS: &str = "#DIGITS! ";

/// Stands for a formula that was saved without a result.
pub(super) const NOT_CALCULATED: &str = "#CALCULATE!";

/// The text of a number of which a spreadsheet keeps only the first digits.
#[cfg(feature = "xlsx")]
pub(super) fn lost_digits(number: f64) -> String {
    format!("{LOST_DIGITS}{number}")
}

/// What is wrong with a cell that holds no value, and what to do; `None`: it holds one.
pub(crate) fn complaint(cell: &str) -> Option<String> {
    if !cell.trim_start().starts_with('#') {
        return None;
    }
    let cell = cell.trim();
    if let Some(number) = cell.strip_prefix(LOST_DIGITS) {
        return Some(format!(
            "the number {} has more digits than the 15 that a spreadsheet keeps, so the last ones are wrong; format the \
             column as text and enter it anew",
            crate::text::clean(number)
        ));
    }
    if cell == NOT_CALCULATED {
        return Some(
            "the formula was saved without its result; open the file in a spreadsheet program and save it again"
                .to_owned(),
        );
    }
    ERRORS.contains(&cell).then(|| {
        format!("{cell} is a spreadsheet's error and no value; mend the formula, or enter the value")
    })
}
