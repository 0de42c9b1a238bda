//! A spreadsheet as the CSV that everything after it reads.
//!
//! | Module | Its one job |
//! |---|---|
//! | `parts` | how large it is unpacked, before anything is held in memory |
//! | `cell` | one value as text |
//!
//! Each row of the sheet is a record of the CSV, and each empty one a blank line, so that counting records and blank
//! lines gives the numbers that a person sees beside the rows ([`Format::Xlsx`](super::Format::Xlsx)). The sheet itself
//! streams; the workbook's shared texts are held in memory. calamine may panic on a file that is damaged: that is contained
//! here, and told as what it is. A failure leaves no file behind.

mod cell;
mod parts;

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::Path;

use calamine::{Reader as _, SheetType, SheetVisible, Xlsx};
use csv::{ByteRecord, QuoteStyle};
use tempfile::NamedTempFile;

use super::UTF8_BOM;
use super::spool::{LOOK_EVERY_BYTES, new_file, write_error};
use crate::contained::contained;
use crate::error::Error;
use crate::spooled::check_space;
use crate::text::{clean, clean_whole, closest};

/// What Excel has at the most; further out is nothing.
const ROWS_MAX: u32 = 1_048_576;
const COLUMNS_MAX: u32 = 16_384;

/// From this size on it is said what a spreadsheet costs, unpacked.
const LARGE_BYTES: u64 = 50 << 20;

/// A signal is looked for after so many cells.
const LOOK_EVERY_CELLS: u64 = 65_536;

/// Sheets named where the one that was asked for is not there.
const NAMED_MAX: usize = 20;

/// Writes a sheet of the workbook `raw` into a new file in `folder`, and gives it with what a person should know of it.
/// `name` is what `--sheet` says; `None`: the first that is visible. `check` is asked now and then whether to go on.
pub(super) fn convert(
    raw: &File,
    folder: &Path,
    name: Option<&str>,
    delimiter: u8,
    check: &mut dyn FnMut() -> io::Result<()>,
) -> Result<(NamedTempFile, Vec<String>), Error> {
    let file = new_file(folder).map_err(|error| write_error(folder, &error))?;
    let sheet = Csv { folder, out: BufWriter::new(file.as_file()), written: 0, looked: 0, columns: None };
    // A library that reads a damaged file may panic on it.
    let told =
        contained(|| sheet.read(raw, name, delimiter, check)).unwrap_or_else(|| Err(damaged("panicked")))?;
    Ok((file, told))
}

/// The sheet's own name, by that which was typed.
fn choose<R: io::Read + io::Seek>(
    workbook: &Xlsx<R>,
    typed: Option<&str>,
    told: &mut Vec<String>,
) -> Result<String, Error> {
    let sheets: Vec<_> =
        workbook.sheets_metadata().iter().filter(|sheet| sheet.typ == SheetType::WorkSheet).collect();
    let Some(typed) = typed else {
        let mut visible = sheets.iter().filter(|sheet| sheet.visible == SheetVisible::Visible);
        let first = visible.next().or(sheets.first()).ok_or_else(|| {
            Error::Input("the workbook has no sheet with cells; add one, or save the rows as CSV".to_owned())
        })?;
        if visible.next().is_some() {
            told.push(format!(
                "sheet \"{}\", the first of several (--sheet names another)",
                clean(&first.name)
            ));
        }
        return Ok(first.name.clone());
    };
    let is_meant = |name: &str| name.trim().to_lowercase() == typed.trim().to_lowercase();
    if let Some(sheet) = sheets.iter().find(|sheet| is_meant(&sheet.name)) {
        return Ok(sheet.name.clone());
    }
    let names: Vec<&str> = sheets.iter().map(|sheet| sheet.name.as_str()).collect();
    let hint = closest(typed, names.iter().copied())
        .map_or_else(String::new, |close| format!("; did you mean --sheet '{}'?", clean(close)));
    let listed = names.iter().take(NAMED_MAX).map(|name| format!("\"{}\"", clean(name))).collect::<Vec<_>>();
    let more = if names.len() > NAMED_MAX { " and others" } else { "" };
    Err(Error::Input(format!(
        "there is no sheet \"{}\"; the workbook has {}{more}{hint}",
        clean(typed),
        clean_whole(&listed.join(", "))
    )))
}

/// The CSV being written.
struct Csv<'a> {
    folder: &'a Path,
    out: BufWriter<&'a File>,
    written: u64,
    looked: u64,
    /// How many the header has, once it was written.
    columns: Option<usize>,
}

impl Csv<'_> {
    /// Reads the workbook, and tells what a person should know of it.
    fn read(
        mut self,
        raw: &File,
        name: Option<&str>,
        delimiter: u8,
        check: &mut dyn FnMut() -> io::Result<()>,
    ) -> Result<Vec<String>, Error> {
        let mut told = Vec::new();
        let unpacked = parts::measure(BufReader::new(raw))?;
        if unpacked >= LARGE_BYTES {
            told.push(format!(
                "a large spreadsheet ({} MiB unpacked): its texts are held in memory while it is read; those of a CSV are \
                 not",
                unpacked >> 20
            ));
        }
        let mut workbook = Xlsx::new(BufReader::new(raw)).map_err(damaged)?;
        let name = choose(&workbook, name, &mut told)?;
        self.fill(&mut workbook, &name, delimiter, check)?;
        Ok(told)
    }

    /// Writes the rows down to the last that is not empty.
    fn fill<R: io::Read + io::Seek>(
        &mut self,
        workbook: &mut Xlsx<R>,
        name: &str,
        delimiter: u8,
        check: &mut dyn FnMut() -> io::Result<()>,
    ) -> Result<(), Error> {
        let mut cells = workbook.worksheet_cells_reader(name).map_err(damaged)?;
        let mut row = Row::default();
        let (mut line, mut seen) = (0, 0_u64);
        while let Some(cell) = cells.next_cell_with_formula_metadata().map_err(damaged)? {
            seen += 1;
            if seen.is_multiple_of(LOOK_EVERY_CELLS) {
                check()
                    .map_err(|error| Error::Machine(format!("stopped reading the spreadsheet: {error}")))?;
            }
            let text = cell::text(&cell.value, cell.formula.is_some());
            if text.trim().is_empty() {
                continue;
            }
            let (number, column) = cell.pos;
            if number >= ROWS_MAX || column >= COLUMNS_MAX {
                return Err(damaged("a cell is out of bounds"));
            }
            if number != row.number {
                self.end_row(&mut row, &mut line, delimiter)?;
                row.number = number;
            }
            row.put(column as usize, text, line)?;
        }
        self.end_row(&mut row, &mut line, delimiter)?;
        self.out.flush().map_err(|error| write_error(self.folder, &error))
    }

    /// Writes the row, if there is anything in it, after a blank line for each row that was left out.
    fn end_row(&mut self, row: &mut Row, line: &mut u32, delimiter: u8) -> Result<(), Error> {
        if row.cells.is_empty() {
            return Ok(());
        }
        for _ in *line..row.number {
            self.write(b"\n")?;
        }
        *line = row.number + 1;
        let width = *self.columns.get_or_insert(row.cells.len());
        let mut record = ByteRecord::new();
        row.cells.iter().for_each(|cell| record.push_field(cell.as_bytes()));
        (row.cells.len()..width).for_each(|_| record.push_field(b""));
        row.cells.clear();
        let mut writer = csv::WriterBuilder::new()
            .delimiter(delimiter)
            .buffer_capacity(4 << 10)
            .quote_style(QuoteStyle::Necessary)
            .from_writer(Vec::new());
        let text = writer
            .write_byte_record(&record)
            .map_err(io::Error::from)
            .and_then(|()| writer.into_inner().map_err(csv::IntoInnerError::into_error));
        let text = text.map_err(|error| write_error(self.folder, &error))?;
        if self.written == 0 && text.starts_with(UTF8_BOM) {
            // A column whose name begins with a mark: the reader would take it for the file's own.
            self.write(UTF8_BOM)?;
        }
        self.write(&text)
    }

    fn write(&mut self, text: &[u8]) -> Result<(), Error> {
        self.written += text.len() as u64;
        // One shared text may stand in a million cells.
        if self.written > parts::UNPACKED_BYTES_MAX {
            return Err(too_large());
        }
        if self.written - self.looked >= LOOK_EVERY_BYTES {
            self.looked = self.written;
            check_space(self.folder, LOOK_EVERY_BYTES)?;
        }
        self.out.write_all(text).map_err(|error| write_error(self.folder, &error))
    }
}

/// The row being read.
#[derive(Default)]
struct Row {
    /// From 0.
    number: u32,
    /// Down to the last that is not empty; none: so far the row is.
    cells: Vec<String>,
}

impl Row {
    /// Puts a cell in; each stands further right or further down than the one before.
    fn put(&mut self, column: usize, text: String, line: u32) -> Result<(), Error> {
        if column < self.cells.len() || self.number < line {
            return Err(damaged("cells are out of order"));
        }
        self.cells.resize(column, String::new());
        self.cells.push(text);
        Ok(())
    }
}

fn damaged(why: impl std::fmt::Display) -> Error {
    tracing::debug!("the spreadsheet: {}", clean(&why.to_string()));
    Error::Input(
        "the spreadsheet cannot be read: it is damaged, cut short, or not written as Excel does; open it in a spreadsheet \
         program and save it anew as .xlsx, or as CSV in UTF-8"
            .to_owned(),
    )
}

fn too_large() -> Error {
    Error::Input(
        "the spreadsheet is too large unpacked (over 1 GiB, 256 MiB without its sheets, or 1 MiB in a cell) to be what it \
         seems; save the sheet as CSV in UTF-8, which may have any size"
            .to_owned(),
    )
}

#[cfg(test)]
mod tests;
