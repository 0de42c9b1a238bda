//! deskload applies a file of changes to help-desk tickets: one row, one update, one request.
//!
//! ```text
//!  input ──▶ spool ──▶ row ──▶ mapping ──▶ update ──▶ lane ──▶ permit ──▶ desk ──▶ verdict ──▶ outcome ──▶ report
//!  bytes     decoded   record  columns     typed      one a    intent,    HTTP     pure        journal     files,
//!  digest    once      number  to fields   validated  ticket   then pace  attempt  decision    commit      screen
//! ```
//!
//! The modules in that order:
//!
//! | Module | Its one job |
//! |---|---|
//! | [`cli`], [`config`], [`settings`] | what was typed; the profile under it; what is meant |
//! | [`input`] | bytes to records: digest, spool, number; the first pass over every row |
//! | [`mapping`] | record to update; every complaint knows its line and column |
//! | [`check`] | what a person wants to know of an input before it is sent |
//! | [`ticket`] | the domain: which ticket, which changes |
//! | [`spooled`], [`mod@todo`], [`newer`] | a run's rows by their numbers; those that are left, in order; what later rows have said |
//! | [`lanes`] | one ticket at a time, in file order |
//! | [`journal`] | states and transitions: intent, permit, outcome; the account file; the same in PostgreSQL |
//! | [`pace`] | when the next request may leave; what is left of the budget |
//! | [`desk`] | the one request that a permit allows, and what came back means |
//! | [`breaker`] | what it means for the run: settle, again, rest, stop |
//! | [`until`] | how long an invocation may go on: rows, time, window |
//! | [`pipeline`] | THE way: the loop that ties these together |
//! | [`shutdown`], [`progress`], [`voice`] | the first signal drains; what a person, a log or a program is told meanwhile |
//! | [`report`] | what a run leaves behind |
//! | [`commands`] | one file a subcommand, thin |
//! | [`sandbox`] | a desk to try it on; shares no code with [`desk`] |
//! | [`error`], [`secret`], [`text`], `table`, `folders`, `network_disk` | what ends a run; the token; somebody else's words made harmless; tables that fit; private folders; a warning of far ones |
//!
//! The promise lives in four places: [`journal::state`] (types), [`journal::transitions`] (one transaction),
//! [`pipeline`] (a permit before a request) and [`desk::verdict`] (when in doubt, in doubt).

pub mod breaker;
pub mod check;
pub mod cli;
pub mod commands;
pub mod config;
mod contained;
pub mod desk;
pub mod error;
mod folders;
pub mod input;
pub mod journal;
pub mod lanes;
pub mod mapping;
mod network_disk;
pub mod newer;
pub mod pace;
pub mod pipeline;
pub mod progress;
pub mod report;
pub mod sandbox;
pub mod secret;
pub mod settings;
pub mod shutdown;
pub mod spooled;
mod table;
pub mod text;
pub mod ticket;
pub mod todo;
pub mod until;
pub mod voice;
mod wrap;
