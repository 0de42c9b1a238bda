//! deskload applies a file of changes to help-desk tickets: one row, one update, one request.

pub mod error;
pub mod input;
pub mod mapping;
pub mod report;
pub mod secret;
pub mod text;
pub mod ticket;
