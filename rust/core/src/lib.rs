//! The compute of Hutch: walking, ignore rules, NDJSON, digests and changes to files.
//!
//! Belongs here: whatever reads or writes the file system faster than Python can, and the
//! bytes it makes of it. Banned here: Python (the bindings live in `rust/native`), HTTP,
//! logging, global state other than the one pool and the caches it names.

pub mod content;
pub mod error;
pub mod json;
pub mod lines;
pub mod names;
pub mod open;
pub mod read;
pub mod rules;
pub mod stop;
