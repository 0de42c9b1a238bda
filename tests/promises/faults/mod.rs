//! The fault catalogue: a test a line, named after its number, `f33_response_timeout`. What each number means and
//! what came of it stands in `tests/README.md`.

mod away;
mod broken;
mod connect;
mod credentials;
mod elsewhere;
mod flood;
mod pause;
pub(crate) mod reply;
mod resend;
mod stale;
