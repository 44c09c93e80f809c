//! A match of ripgrep's `--json` in the form that nearly all have, read at a glance.
//!
//! Belongs here: what can be told without taking the message apart: its text stays escaped as it
//! came. Banned here: everything unusual (bytes that are no text, rare escapes, long lines, other
//! orders of keys): `None` leaves it to `message`. Taking a message apart and escaping its text
//! again was most of what a stream of a common word cost.
//! Source: ripgrep's `grep_printer::JSON`; RFC 8259, section 7.

use crate::clip;

/// A matching line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Glance<'m> {
    /// Its number.
    pub(crate) line: u64,
    /// The byte where its first match begins.
    pub(crate) at: u64,
    /// The line without its end, as the inside of a JSON string.
    pub(crate) text: &'m [u8],
}

/// The matching line that `message` tells, where it is in the usual form.
pub(crate) fn read(message: &[u8]) -> Option<Glance<'_>> {
    let mut rest = Rest(message.strip_suffix(b"}]}}")?);
    rest.skip(b"{\"type\":\"match\",\"data\":{\"path\":{\"text\":\"")?;
    rest.string()?;
    rest.skip(b"},\"lines\":{\"text\":\"")?;
    let text = rest.string()?;
    rest.skip(b"},\"line_number\":")?;
    let line = rest.number()?;
    rest.skip(b",\"absolute_offset\":")?;
    rest.number()?;
    rest.skip(b",\"submatches\":[{\"match\":{\"text\":\"")?;
    rest.string()?;
    rest.skip(b"},\"start\":")?;
    let at = rest.number()?;
    // As many characters at most as bytes: it is not too long.
    let is_usual = text.escaped.len() <= clip::LONGEST
        && simdutf8::basic::from_utf8(message).is_ok()
        && !message.iter().any(|byte| *byte < b' ');
    is_usual.then(|| Glance {
        line,
        at,
        text: text.without_end(),
    })
}

/// What of a message is to come.
struct Rest<'m>(&'m [u8]);

/// The inside of a string, and where its last two escapes begin.
struct Inside<'m> {
    escaped: &'m [u8],
    escapes: [usize; 2],
}

impl<'m> Rest<'m> {
    fn skip(&mut self, wanted: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(wanted)?;
        Some(())
    }

    fn number(&mut self) -> Option<u64> {
        let end = self.0.iter().position(|byte| !byte.is_ascii_digit())?;
        let digits = std::str::from_utf8(&self.0[..end]).ok()?;
        self.0 = &self.0[end..];
        digits.parse().ok()
    }

    /// Up to the quote that ends it.
    fn string(&mut self) -> Option<Inside<'m>> {
        let bytes = self.0;
        let (mut at, mut escapes) = (0, [usize::MAX; 2]);
        loop {
            at += memchr::memchr2(b'"', b'\\', &bytes[at..])?;
            if bytes[at] == b'"' {
                self.0 = &bytes[at + 1..];
                let escaped = &bytes[..at];
                return Some(Inside { escaped, escapes });
            }
            if !b"\"\\nrtbf".contains(bytes.get(at + 1)?) {
                return None;
            }
            escapes = [at, escapes[0]];
            at += 2;
        }
    }
}

impl<'m> Inside<'m> {
    /// As [`clip::without_end`], of what is escaped: `\\n` is a backslash and a letter.
    fn without_end(&self) -> &'m [u8] {
        let mut escapes = self.escapes.iter();
        let mut line = self.escaped;
        for end in [b'n', b'r'] {
            if line.last() == Some(&end) && escapes.as_slice().first() == Some(&(line.len() - 2)) {
                line = &line[..line.len() - 2];
                escapes.next();
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Message, clip_of};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    /// In ripgrep's order of keys.
    fn told(path: &Value, line: &Value, number: u64, at: usize) -> String {
        format!(
            "{{\"type\":\"match\",\"data\":{{\"path\":{path},\"lines\":{line},\
             \"line_number\":{number},\"absolute_offset\":7,\"submatches\":\
             [{{\"match\":{{\"text\":\"m\"}},\"start\":{at},\"end\":{}}}]}}}}",
            at + 1
        )
    }

    fn text(text: &str) -> Value {
        json!({ "text": text })
    }

    /// What taking the message apart tells.
    fn slowly(message: &str) -> (u64, usize, Vec<u8>, bool) {
        let data = serde_json::from_str::<Message<'_>>(message).unwrap().data;
        let at = data.submatches[0].start;
        let clip = clip_of(&data, at).unwrap();
        (data.line().unwrap(), at, clip.escaped, clip.is_cut)
    }

    #[test]
    fn the_usual_form_is_read() {
        let lines = [
            "m\n",
            "m\r\n",
            "m",
            "\tm(\"a\\n\")\n",
            "m\\n",
            "m\\\\n",
            "m\r",
            "\n",
            "m\r\r\n",
            "zażółć m\n",
            "",
        ];
        for line in lines {
            let message = told(&text("./a \"b\""), &text(line), 3, 1);
            let found = read(message.as_bytes()).unwrap();
            let (number, at, escaped, _) = slowly(&message);
            assert_eq!((found.line, found.at), (number, at as u64));
            assert_eq!(found.text, escaped, "{line:?}");
        }
    }

    #[test]
    fn everything_else_is_left() {
        let good = told(&text("./a"), &text("m\n"), 3, 0);
        let cases = [
            told(&json!({"bytes": "Li9jYWbp"}), &text("m\n"), 3, 0),
            told(&text("./a"), &json!({"bytes": "/21tCg=="}), 3, 0),
            told(&text("./a"), &text("m\u{1}\n"), 3, 0),
            told(&text("./a"), &text(&"m".repeat(clip::LONGEST + 1)), 3, 0),
            good.replace("match\",\"data", "context\",\"data"),
            good.replace(":3,", ":99999999999999999999,"),
            good.replace(":3,", ":,"),
            good.replace("m\\n", "m\n"),
            good.replace("m\\n", "m\\x"),
            good[..good.len() - 1].to_owned(),
            String::new(),
        ];
        for case in cases {
            assert_eq!(read(case.as_bytes()), None, "{case}");
        }
        let mut bytes = good.into_bytes();
        let at = bytes.iter().position(|byte| *byte == b'm').unwrap();
        bytes[at] = 0xff;
        assert_eq!(read(&bytes), None);
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_the_parser_tells(
            line in "[a-z\\\\\"\t\r\n\u{7}é😀]{0,40}", path in ".{0,20}", number in any::<u64>(), at in 0..9_usize,
        ) {
            let message = told(&text(&path), &text(&line), number, at);
            if let Some(found) = read(message.as_bytes()) {
                let (number, at, escaped, is_cut) = slowly(&message);
                prop_assert_eq!((found.line, found.at), (number, at as u64));
                prop_assert_eq!(found.text, escaped);
                prop_assert!(!is_cut);
            }
        }
    }
}
