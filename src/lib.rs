//! deskload applies a file of changes to help-desk tickets: one row, one update, one request.

pub mod error;
pub mod sandbox;
pub mod secret;
pub mod text;
pub mod ticket;
