//! From bytes to records: spool the input once, then stream its records as often as needed.
//!
//! | Module | Its one job |
//! |---|---|
//! | [`layout`] | which format, which delimiter |
//! | [`spool`] | copy the input once, digest it, unpack it, take a BOM off |
//! | [`decode`] | other encodings to UTF-8, or an error |
//! | `sheet` | a sheet of an `.xlsx` to CSV |
//! | `kind` | what an input is by its first bytes, where that is not what it was taken for |
//! | `spoiled` | cells that hold a spreadsheet's error and no value |
//! | [`records`] | one record after the other, with its number, line and byte |
//! | `window` | the raw bytes of the record being read; notices one that never ends |
//! | `csv` | CSV records on top of the window, and the header |
//! | `jsonl` | JSONL records, and the members of one object |
//! | `ahead` | records read on a thread of its own |
//! | [`mod@survey`] | read everything before anything is sent |
//! | `shapes` | ids that look unlike the others |
//!
//! Nothing here knows fields or tickets, save [`mod@survey`], which asks the mapping about each row. Memory does not
//! grow with the input: a record over [`RECORD_BYTES_MAX`] ends the reading. Trouble that makes the whole
//! input unusable is [`Error::Input`](crate::error::Error::Input); a disk that fails is `Error::Machine`.

mod ahead;
mod csv;
pub mod decode;
pub(crate) mod jsonl;
mod kind;
pub mod layout;
pub mod records;
mod shapes;
#[cfg(feature = "xlsx")]
mod sheet;
pub(crate) mod spoiled;
pub mod spool;
pub mod survey;
#[cfg(test)]
mod tests;
mod window;

pub use ahead::Row;
pub(crate) use ahead::RowBody;
pub use csv::Header;
pub use layout::{Choice, Format, Layout};
pub(crate) use records::Kept;
pub use records::{Body, Mark, Record, Records};
pub use survey::{Invalid, Seen, Survey, survey};

/// The longest record, in bytes: far above any honest update, far below what would hurt.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

/// The mark that some editors put before UTF-8 text.
pub(crate) const UTF8_BOM: &[u8] = b"\xEF\xBB\xBF";
