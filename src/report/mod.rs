//! What a run leaves for people to read: files made from the journal and the spool.
//!
//! Nothing here changes the journal or talks to the desk; every file can be made again.

pub mod failures;
