//! The compute of Hutch: walking, ignore rules, NDJSON, digests and changes to files.
//!
//! Belongs here: whatever reads or writes the file system faster than Python can, and the
//! bytes it makes of it. Banned here: Python (the bindings live in `rust/native`), HTTP,
//! logging, global state other than the one pool and the caches it names.

pub mod append;
pub mod archive;
mod attributes;
pub mod cached;
pub mod clip;
pub mod content;
pub mod digest;
pub mod directory;
pub mod elide;
pub mod entry;
pub mod error;
pub mod feed;
pub mod filter;
pub mod guard;
pub mod hole;
pub mod inline;
pub mod json;
pub mod lines;
pub mod matches;
mod message;
pub mod mkdir;
pub mod mounts;
pub mod names;
pub mod needle;
pub mod open;
mod overwrite;
pub mod pending;
pub mod pidfd;
pub mod place;
pub mod pool;
pub mod pseudo;
pub mod read;
pub mod removal;
pub mod remove;
pub mod rules;
pub mod scratch;
pub mod spawn;
pub mod spool;
pub mod state;
pub mod stop;
pub mod timestamp;
pub mod walk;
pub mod watch;
pub mod write;
