//! The compute of Hutch: walking, ignore rules, NDJSON, digests and changes to files.
//!
//! Belongs here: whatever reads or writes the file system faster than Python can, and the
//! bytes it makes of it. Banned here: Python (the bindings live in `rust/native`), HTTP,
//! logging, global state other than the one pool and the caches it names.

pub mod append;
pub mod archive;
mod attributes;
mod batch;
pub mod cached;
pub mod chmod;
pub mod clip;
pub mod content;
pub mod copied;
pub mod copy;
pub mod digest;
pub mod directory;
mod duplicate;
pub mod elide;
pub mod ends;
pub mod entry;
pub mod error;
pub mod feed;
pub mod filter;
mod glance;
pub mod guard;
pub mod hole;
pub mod inline;
pub mod json;
pub mod lines;
pub mod matches;
mod message;
pub mod mkdir;
pub mod mounts;
pub mod moving;
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
mod taking;
pub mod timestamp;
mod trail;
pub mod walk;
pub mod watch;
pub mod write;
