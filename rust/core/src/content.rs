//! The content of a file as the inside of a JSON string, window by window.
//!
//! Belongs here: the three forms in which content is answered, and the state that a cut between
//! two windows needs. Banned here: files, and the answer around the string.
//!
//! Source: wire contract, section 2, "Read".

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::{json, lines};

/// How content is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Text; what is not UTF-8 appears as U+FFFD.
    Text,
    /// Text, each line prefixed as by `cat -n`.
    Numbered,
    /// Padded base64 (RFC 4648, section 4) of the bytes.
    Base64,
}

/// Encodes windows of content, one after the other.
#[derive(Debug)]
pub struct Encoder {
    form: Form,
    line: u64,
    at_line_start: bool,
    lossy: bool,
}

impl Encoder {
    /// For content whose first line has the number `line`.
    pub fn new(form: Form, line: u64) -> Self {
        Self {
            form,
            line,
            at_line_start: true,
            lossy: false,
        }
    }

    /// Whether any byte so far was not UTF-8.
    pub fn is_lossy(&self) -> bool {
        self.lossy
    }

    /// Appends `window` encoded and says how many of its bytes were taken: all of the last
    /// one; of others up to three bytes may have to come again with the next.
    pub fn encode(&mut self, out: &mut Vec<u8>, window: &[u8], is_last: bool) -> usize {
        let taken = match self.form {
            _ if is_last => window.len(),
            Form::Base64 => window.len() / 3 * 3,
            Form::Text | Form::Numbered => window.len() - unfinished(window),
        };
        let window = &window[..taken];
        match self.form {
            Form::Text => self.lossy |= json::escape_lossy(out, window),
            Form::Numbered => self.number(out, window),
            Form::Base64 => encode_base64(out, window),
        }
        taken
    }

    fn number(&mut self, out: &mut Vec<u8>, window: &[u8]) {
        for line in window.split_inclusive(|byte| *byte == b'\n') {
            if self.at_line_start {
                lines::prefix(out, self.line);
                self.line += 1;
            }
            self.at_line_start = line.ends_with(b"\n");
            self.lossy |= json::escape_lossy(out, line);
        }
    }
}

fn encode_base64(out: &mut Vec<u8>, window: &[u8]) {
    let at = out.len();
    out.resize(at + window.len().div_ceil(3) * 4, 0);
    let written = STANDARD.encode_slice(window, &mut out[at..]);
    debug_assert_eq!(written.ok(), Some(out.len() - at));
}

/// How many bytes at the end begin a UTF-8 sequence that may go on in the next window.
fn unfinished(window: &[u8]) -> usize {
    for (back, byte) in (1..=3).zip(window.iter().rev()) {
        let length = match byte {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 1,
        };
        return if length > back { back } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(form: Form, bytes: &[u8], window: usize) -> (String, bool) {
        let mut encoder = Encoder::new(form, 1);
        let (mut out, mut at) = (Vec::new(), 0);
        while at < bytes.len() {
            let end = bytes.len().min(at + window);
            at += encoder.encode(&mut out, &bytes[at..end], end == bytes.len());
        }
        (String::from_utf8(out).unwrap(), encoder.is_lossy())
    }

    #[test]
    fn unfinished_sequences_wait() {
        let cases: &[(&[u8], usize)] = &[
            (b"", 0),
            (b"abc", 0),
            (b"ab\xc3", 1),
            (b"ab\xc3\xb1", 0),
            (b"\xe2\x82", 2),
            (b"\xf0\x9f\x98", 3),
            (b"\xf0\x9f\x98\x80", 0),
            (b"\x80\x80\x80\x80", 0),
            (b"a\xff", 0),
        ];
        for (bytes, wanted) in cases {
            assert_eq!(unfinished(bytes), *wanted, "{bytes:?}");
        }
    }

    #[test]
    fn forms() {
        let cases: &[(Form, &[u8], &str, bool)] = &[
            (Form::Text, b"a\n\"\xff", "a\\n\\\"\u{fffd}", true),
            (
                Form::Numbered,
                b"a\nb\n",
                "     1\\ta\\n     2\\tb\\n",
                false,
            ),
            (
                Form::Numbered,
                b"\n\nx",
                "     1\\t\\n     2\\t\\n     3\\tx",
                false,
            ),
            (
                Form::Numbered,
                b"\xc3\n\xb1",
                "     1\\t\u{fffd}\\n     2\\t\u{fffd}",
                true,
            ),
            (Form::Base64, b"\0\xff\n", "AP8K", false),
            (Form::Base64, b"ab", "YWI=", false),
        ];
        for (form, bytes, wanted, lossy) in cases {
            assert_eq!(
                encoded(*form, bytes, 4),
                (wanted.to_string(), *lossy),
                "{bytes:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn windows_make_no_difference(
            bytes in proptest::collection::vec(
                prop_oneof![any::<u8>(), Just(b'\n'), Just(0xc3), Just(0xf0), Just(0x9f)], 0..64),
            window in 4..20_usize,
        ) {
            for form in [Form::Text, Form::Numbered, Form::Base64] {
                prop_assert_eq!(encoded(form, &bytes, window), encoded(form, &bytes, 1000));
            }
        }
    }
}
