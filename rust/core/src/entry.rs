//! One entry of a listing as JSON: the fields that every form has in common.
//!
//! Belongs here: field names, their order, the `_b64` twins of what is not UTF-8. Banned here:
//! finding anything out. Source: reference, "List directory"; wire contract, section 2.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::digest::{Digest, append_hex};
use crate::directory::{Kind, Meta};
use crate::json;
use crate::timestamp::Days;

/// How a directory is spelled: its path as bytes and as JSON, so that an entry's path costs
/// two copies.
#[derive(Debug)]
pub struct Spelling {
    /// The absolute path, with a slash at the end.
    raw: Vec<u8>,
    /// How much of `raw` is the listed directory.
    base: usize,
    /// `raw` as the inside of a JSON string.
    escaped: Vec<u8>,
    lossy: bool,
}

/// Where a [`Spelling`] was before it went down.
#[derive(Clone, Copy, Debug)]
pub struct Mark(usize, usize, bool);

impl Spelling {
    /// The listed directory, absolute and normalised.
    pub fn root(path: &[u8]) -> Self {
        Self::with_room(path, 0)
    }

    /// The same, with room to go down by `more` bytes of path.
    pub fn with_room(path: &[u8], more: usize) -> Self {
        let mut raw = Vec::with_capacity(path.len() + 1 + more);
        raw.extend_from_slice(path);
        if raw.last() != Some(&b'/') {
            raw.push(b'/');
        }
        // More than escaping plain names asks for.
        let mut escaped = Vec::with_capacity((raw.len() + more) * 5 / 4 + 16);
        let lossy = json::escape_lossy(&mut escaped, &raw);
        Self {
            base: raw.len(),
            raw,
            escaped,
            lossy,
        }
    }

    /// The directory `name` in this one.
    pub fn child(&self, name: &[u8]) -> Self {
        let mut child = Self {
            raw: Vec::with_capacity(self.raw.len() + name.len() + 1),
            base: self.base,
            escaped: Vec::with_capacity(self.escaped.len() + name.len() + 1),
            lossy: self.lossy,
        };
        child.raw.extend_from_slice(&self.raw);
        child.escaped.extend_from_slice(&self.escaped);
        child.descend(name);
        child
    }

    /// Goes down into `name`; the mark leads back up.
    pub fn descend(&mut self, name: &[u8]) -> Mark {
        let mark = Mark(self.raw.len(), self.escaped.len(), self.lossy);
        self.raw.extend_from_slice(name);
        self.raw.push(b'/');
        self.lossy |= json::escape_lossy(&mut self.escaped, name);
        self.escaped.push(b'/');
        mark
    }

    /// Goes back up to where `mark` was made.
    pub fn ascend(&mut self, mark: Mark) {
        self.raw.truncate(mark.0);
        self.escaped.truncate(mark.1);
        self.lossy = mark.2;
    }

    /// The path relative to the listed directory; empty for that one.
    pub fn rel(&self) -> &[u8] {
        let end = self.raw.len().saturating_sub(1).max(self.base);
        &self.raw[self.base.min(end)..end]
    }

    /// The directory's own name; empty for the listed one.
    pub fn name(&self) -> &[u8] {
        let rel = self.rel();
        &rel[memchr::memrchr(b'/', rel).map_or(0, |at| at + 1)..]
    }

    /// The absolute path of the entry `name`.
    pub fn join(&self, name: &[u8]) -> Vec<u8> {
        [self.raw.as_slice(), name].concat()
    }

    /// The absolute path.
    pub fn path(&self) -> &[u8] {
        match self.raw.as_slice() {
            b"/" => b"/",
            raw => &raw[..raw.len() - 1],
        }
    }
}

/// Appends `"key":"value"` with a comma before it, and the `_b64` twin where the value is not
/// UTF-8.
pub fn append_text(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":\"");
    let lossy = json::escape_lossy(out, value);
    out.push(b'"');
    if lossy {
        append_b64(out, key, value);
    }
}

fn append_b64(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"_b64\":\"");
    out.extend_from_slice(URL_SAFE_NO_PAD.encode(value).as_bytes());
    out.push(b'"');
}

/// Appends `,"key":"word"` where neither needs escaping.
pub fn append_word(out: &mut Vec<u8>, key: &str, word: &str) {
    for part in [",\"", key, "\":\"", word, "\""] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Appends `{"name":...,"path":...,"type":...`: an entry's beginning, left open.
pub fn begin(out: &mut Vec<u8>, directory: &Spelling, name: &[u8], kind: Kind) {
    out.reserve(directory.escaped.len() + name.len() * 2 + 192);
    out.extend_from_slice(b"{\"name\":\"");
    let start = out.len();
    let lossy = json::escape_lossy(out, name);
    let end = out.len();
    out.extend_from_slice(b"\",\"path\":\"");
    out.extend_from_slice(&directory.escaped);
    out.extend_from_within(start..end);
    out.push(b'"');
    if lossy || directory.lossy {
        append_b64(out, "path", &directory.join(name));
    }
    out.extend_from_slice(b",\"type\":\"");
    out.extend_from_slice(kind.word());
    out.push(b'"');
}

/// Appends size and time.
pub fn append_meta(out: &mut Vec<u8>, meta: &Meta, days: &mut Days) {
    out.extend_from_slice(b",\"size\":");
    append_number(out, meta.size);
    out.extend_from_slice(b",\"modified\":\"");
    days.append(out, meta.modified);
    out.push(b'"');
}

/// Appends a number.
pub fn append_number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends `,"hash":"..."`.
pub fn append_hash(out: &mut Vec<u8>, digest: &Digest) {
    out.extend_from_slice(b",\"hash\":\"");
    append_hex(out, digest);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_spelled_as_asked_for() {
        let cases: &[(&str, &[&str], &str, &str, &str)] = &[
            (
                "/",
                &[],
                "a",
                "",
                r#"{"name":"a","path":"/a","type":"file""#,
            ),
            (
                "/x",
                &[],
                "a",
                "",
                r#"{"name":"a","path":"/x/a","type":"file""#,
            ),
            (
                "/x",
                &["y", "z"],
                "a\"",
                "y/z",
                r#"{"name":"a\"","path":"/x/y/z/a\"","type":"file""#,
            ),
            (
                "/",
                &["y"],
                "a",
                "y",
                r#"{"name":"a","path":"/y/a","type":"file""#,
            ),
        ];
        for (root, down, name, rel, wanted) in cases {
            let mut place = Spelling::root(root.as_bytes());
            for one in *down {
                place = place.child(one.as_bytes());
            }
            let mut out = Vec::new();
            begin(&mut out, &place, name.as_bytes(), Kind::File);
            assert_eq!(String::from_utf8(out).unwrap(), *wanted);
            assert_eq!(place.rel(), rel.as_bytes());
            assert_eq!(place.name(), down.last().unwrap_or(&"").as_bytes());
        }
        assert_eq!(Spelling::root(b"/").path(), b"/");
        assert_eq!(Spelling::root(b"/x").child(b"y").path(), b"/x/y");
    }

    #[test]
    fn what_is_not_utf8_has_a_twin() {
        let mut out = Vec::new();
        begin(
            &mut out,
            &Spelling::root(b"/").child(b"\xff"),
            b"a",
            Kind::Directory,
        );
        let wanted = "{\"name\":\"a\",\"path\":\"/\u{fffd}/a\",\"path_b64\":\"L_8vYQ\",\
                      \"type\":\"directory\"";
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }
}
