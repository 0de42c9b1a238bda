//! What the configuration file says: profiles, and how they stand under what was typed.
//!
//! | Module | Its one job |
//! |---|---|
//! | `file` | finds the file and reads it, every value with its line |
//! | `profile` | one profile: its keys checked, and what no flag can say |
//! | `layers` | puts a profile under the command line, so that clap resolves flag > environment > profile > default |
//!
//! The file is never looked for in the current folder: a stranger's file there could send the token elsewhere. It
//! holds no token, and is refused if it does. Every complaint names the file and the line.

mod file;
mod layers;
mod profile;
#[cfg(test)]
mod tests;

pub use file::{places, usual_place};
pub use layers::{Layered, Origin, check_text, parse, setting_names};
pub use profile::{LookupFrom, LookupSetting, Profile};
