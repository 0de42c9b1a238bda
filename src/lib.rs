//! deskload applies a file of changes to help-desk tickets: one row, one update, one request.

pub mod breaker;
pub mod cli;
pub mod commands;
pub mod desk;
pub mod error;
pub mod input;
pub mod journal;
pub mod lanes;
pub mod mapping;
pub mod pace;
pub mod pipeline;
pub mod progress;
pub mod report;
pub mod sandbox;
pub mod secret;
pub mod settings;
pub mod shutdown;
pub mod spooled;
pub mod text;
pub mod ticket;
pub mod todo;
