//! Archives: trees as tar.gz while they are sent, and tar.gz as trees while they arrive.
//!
//! Belongs here: the format (`member`, `header`, `gunzip`, `untar`), what is packed (`tree`,
//! `pack`), and what an upload does to the file system (`landing`, `extract`). Banned here:
//! Python, HTTP, compression itself (`flate2` with zlib-rs).
//!
//! Headers are ours, not the `tar` crate's: that crate pulls its bytes from a `Read`, so that a
//! client that stalls would hold a thread; here bytes are pushed in and taken out as they come.
//! It also opens files by path, where all must be relative to directories that are held open.
//!
//! Source: wire contract, section 2, "Transfer"; design, section 3, "Archives"; POSIX.1-2024,
//! `pax`, "ustar Interchange Format" and "pax Interchange Format"; RFC 1952.

mod account;
mod extract;
mod gunzip;
mod header;
mod landing;
mod links;
mod member;
mod pack;
mod settling;
mod sparse;
mod tree;
mod trouble;
mod untar;

pub use extract::{Caps, Extractor, Wishes};
pub use landing::{Landed, Owner};
pub use pack::{Pack, Packed, Wanted};
pub use trouble::{Code, Trouble};
