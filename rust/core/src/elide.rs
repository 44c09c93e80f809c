//! Lines of JSON cut out of a stream in pieces, at bounded memory: what is too long is shortened
//! so that it stays JSON.
//!
//! Belongs here: line ends, and how a long message is cut. Banned here: what a message means.
//!
//! ripgrep prints a matching line whole, and every match in it: a file of 2 GB in one line is one
//! message of 2 GB, or of many more. Strings keep their first 64 KiB, and after 256 KiB the
//! message ends with the next object that is complete.

use crate::error::{Error, Result};

/// A message up to this size is handed over as it came; a string keeps as much. A multiple of
/// four, so that base64 stays whole.
pub const KEPT: usize = 64 * 1024;
/// A shortened message ends with the object that crosses this.
const LONG: usize = 4 * KEPT;
/// What is longer even so is no message.
const LONGEST: usize = 1024 * 1024;

/// Cuts a stream into messages.
#[derive(Debug, Default)]
pub struct Elider {
    line: Vec<u8>,
    long: Option<Long>,
}

/// Where a message that is being shortened stands.
#[derive(Debug, Default)]
struct Long {
    closers: Vec<u8>,
    in_string: bool,
    /// Bytes of an escape sequence that are still to come.
    escape: usize,
    string: usize,
    is_cut: bool,
    is_over: bool,
}

impl Elider {
    /// Takes the next piece, and calls `take` with each message that it completes.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what cannot be a message; what `take` fails with.
    pub fn feed(&mut self, piece: &[u8], mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut rest = piece;
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest);
            let part = &rest[..end.unwrap_or(rest.len())];
            rest = end.map_or(&[], |end| &rest[end + 1..]);
            if self.line.is_empty() && end.is_some() && part.len() <= KEPT {
                take(part)?;
                continue;
            }
            self.append(part)?;
            if end.is_some() {
                let line = std::mem::take(&mut self.line);
                self.long = None;
                take(&line)?;
            }
        }
        Ok(())
    }

    /// Whether a message is incomplete.
    pub fn is_midway(&self) -> bool {
        !self.line.is_empty()
    }

    fn append(&mut self, part: &[u8]) -> Result<()> {
        if self.long.is_none() {
            if self.line.len() + part.len() <= KEPT {
                self.line.extend_from_slice(part);
                return Ok(());
            }
            let line = std::mem::take(&mut self.line);
            let mut long = Long::default();
            long.append(&mut self.line, &line)?;
            self.long = Some(long);
        }
        match &mut self.long {
            Some(long) => long.append(&mut self.line, part),
            None => Ok(()),
        }
    }
}

impl Long {
    fn append(&mut self, line: &mut Vec<u8>, part: &[u8]) -> Result<()> {
        let mut at = 0;
        while at < part.len() && !self.is_over {
            if self.in_string {
                at += self.string(line, &part[at..]);
            } else {
                self.structure(line, part[at]);
                at += 1;
            }
            if line.len() > LONGEST {
                let start = String::from_utf8_lossy(&line[..80]).into_owned();
                return Err(Error::Invalid(format!("no message: {start}")));
            }
        }
        Ok(())
    }

    /// Takes some bytes of a string; says how many.
    fn string(&mut self, line: &mut Vec<u8>, bytes: &[u8]) -> usize {
        if self.escape > 0 {
            // `\u` is followed by four digits, anything else is the whole of it.
            self.escape = match (self.escape, bytes[0]) {
                (5, b'u') => 4,
                (5, _) => 0,
                (left, _) => left - 1,
            };
            self.keep(line, &bytes[..1]);
            return 1;
        }
        let plain = memchr::memchr2(b'"', b'\\', bytes).unwrap_or(bytes.len());
        if plain > 0 {
            self.plain(line, &bytes[..plain]);
            return plain;
        }
        if bytes[0] == b'"' {
            self.in_string = false;
            line.push(b'"');
        } else {
            self.is_cut |= self.string >= KEPT;
            self.escape = 5;
            self.keep(line, b"\\");
        }
        1
    }

    fn plain(&mut self, line: &mut Vec<u8>, bytes: &[u8]) {
        let mut room = KEPT.saturating_sub(self.string).min(bytes.len());
        // A character is not cut through.
        while room < bytes.len() && bytes[room] & 0xc0 == 0x80 {
            room += 1;
        }
        self.keep(line, &bytes[..room]);
        self.is_cut |= room < bytes.len();
    }

    fn keep(&mut self, line: &mut Vec<u8>, bytes: &[u8]) {
        if !self.is_cut {
            line.extend_from_slice(bytes);
            self.string += bytes.len();
        }
    }

    fn structure(&mut self, line: &mut Vec<u8>, byte: u8) {
        line.push(byte);
        match byte {
            b'"' => (self.in_string, self.string, self.is_cut) = (true, 0, false),
            b'{' => self.closers.push(b'}'),
            b'[' => self.closers.push(b']'),
            b'}' | b']' => {
                self.closers.pop();
                if byte == b'}' && line.len() > LONG {
                    line.extend(self.closers.iter().rev());
                    self.is_over = true;
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn messages(stream: &[u8], piece: usize) -> Vec<Vec<u8>> {
        let mut elider = Elider::default();
        let mut found = Vec::new();
        for part in stream.chunks(piece) {
            elider
                .feed(part, |message| {
                    found.push(message.to_vec());
                    Ok(())
                })
                .unwrap();
        }
        assert!(!elider.is_midway());
        found
    }

    #[test]
    fn long_messages_stay_json() {
        let cases = [
            json!({"a": "x".repeat(300_000), "b": 7}),
            json!({"a": "\u{17e}\n".repeat(100_000), "b": 7}),
            json!({"a": "\u{1}\\\"".repeat(100_000), "b": 7}),
            json!({"b": 7, "s": vec![json!({"m": "x", "at": 1}); 50_000]}),
            json!({"b": 7, "s": vec![json!({"m": "x".repeat(70_000)}); 50]}),
        ];
        for case in cases {
            let stream = format!("{{}}\n{case}\n{{}}\n");
            for piece in [1, 4096, 1 << 20] {
                let found = messages(stream.as_bytes(), piece);
                assert_eq!(
                    (found.len(), &found[0], &found[2]),
                    (3, &b"{}".to_vec(), &b"{}".to_vec())
                );
                assert!(found[1].len() < LONG + 2 * KEPT);
                let value: Value = serde_json::from_slice(&found[1]).unwrap();
                assert_eq!(value["b"], 7);
                if let Some(text) = value["a"].as_str() {
                    assert!(case["a"].as_str().unwrap().starts_with(text));
                }
            }
        }
    }

    #[test]
    fn what_has_no_end_is_refused() {
        for byte in [b"x", b"["] {
            let mut elider = Elider::default();
            let fed = elider.feed(&byte.repeat(LONGEST * 2), |_| Ok(()));
            assert!(matches!(fed, Err(Error::Invalid(_))));
        }
    }

    proptest! {
        #[test]
        fn short_messages_pass_unchanged(
            lines in prop::collection::vec("[^\n]{1,40}", 0..20), piece in 1_usize..50,
        ) {
            let stream: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let wanted: Vec<Vec<u8>> = lines.iter().map(|line| line.clone().into_bytes()).collect();
            prop_assert_eq!(messages(stream.as_bytes(), piece), wanted);
        }
    }
}
