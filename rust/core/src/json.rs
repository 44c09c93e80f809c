//! The inside of JSON strings: escaping of text, and of bytes that may not be text.
//!
//! Belongs here: turning bytes into what stands between two quotes. Banned here: quotes,
//! keys, objects; whoever builds an answer writes those.
//!
//! Source: RFC 8259, section 7. Only what must be escaped is: `"`, `\` and what lies below
//! U+0020; DEL, U+2028 and the rest stand as they are.

use wide::u8x16;

/// What stands for each byte that is not UTF-8, as one replacement character a maximal subpart.
pub const REPLACEMENT: &str = "\u{FFFD}";

/// Appends `utf8`, which must be valid UTF-8, escaped.
pub fn escape(out: &mut Vec<u8>, utf8: &[u8]) {
    out.reserve(utf8.len() + utf8.len() / 8);
    let mut rest = utf8;
    if rest.len() >= VIEW {
        let mut room = [0; ROOM];
        while rest.len() >= VIEW {
            let (taken, length) = escape_chunk(&mut room, rest);
            out.extend_from_slice(&room[..length]);
            rest = &rest[taken..];
        }
    }
    loop {
        let plain = plain_prefix(rest);
        out.extend_from_slice(&rest[..plain]);
        let Some(special) = rest.get(plain) else {
            return;
        };
        escape_byte(out, *special);
        rest = &rest[plain + 1..];
    }
}

/// What one comparison looks at.
const LANES: usize = 16;
/// The bytes whose escapes one word of bits tells.
const BLOCK: usize = 64;
/// A block and as much behind it, so that a block's worth can be copied from anywhere in it.
const VIEW: usize = 2 * BLOCK;
/// What is escaped in one go, at most.
const CHUNK: usize = 512;
/// A chunk of which every byte is escaped, and the copy behind it that is too much.
const ROOM: usize = CHUNK * 6 + BLOCK;
/// Most runs between two escapes are shorter; the rest is copied where it is needed.
const RUN: usize = 32;

/// Escapes up to a chunk of `text`, which is as long as a view at least, into `room`. Says how
/// much of `text` was taken and how much of `room` filled.
///
/// Copies have a fixed size and are overwritten where they were too long: source code has a
/// byte to escape every ten or so, and a copy whose length is not known costs a call.
fn escape_chunk(room: &mut [u8; ROOM], text: &[u8]) -> (usize, usize) {
    let (mut taken, mut to) = (0, 0);
    while taken < CHUNK {
        let Some(view) = text[taken..].first_chunk::<VIEW>() else {
            break;
        };
        let (mut special, mut done) = (special_bits(view), 0);
        while special != 0 {
            let at = special.trailing_zeros() as usize % BLOCK;
            copy::<RUN>(room, to, view, done);
            if at - done > RUN {
                copy::<{ BLOCK - RUN }>(room, to + RUN, view, done + RUN);
            }
            to += at - done;
            let (escape, length) = &ESCAPES[usize::from(view[at])];
            copy::<8>(room, to, escape, 0);
            to += length;
            done = at + 1;
            special &= special - 1;
        }
        copy::<BLOCK>(room, to, view, done);
        to += BLOCK - done;
        taken += BLOCK;
    }
    (taken, to)
}

/// A bit for each of the first [`BLOCK`] bytes that needs an escape.
fn special_bits(view: &[u8; VIEW]) -> u64 {
    let (lanes, _) = view.as_chunks::<LANES>();
    let mut bits = 0;
    for (at, lane) in lanes.iter().take(BLOCK / LANES).enumerate() {
        let bytes = u8x16::new(*lane);
        let below_blank = bytes.min(u8x16::splat(0x1f)).simd_eq(bytes);
        let quotes = bytes.simd_eq(u8x16::splat(b'"'));
        let backslashes = bytes.simd_eq(u8x16::splat(b'\\'));
        let found = (below_blank | quotes | backslashes).to_bitmask();
        bits |= u64::from(found) << (at * LANES);
    }
    bits
}

fn copy<const LENGTH: usize>(room: &mut [u8], to: usize, from: &[u8], at: usize) {
    if let (Some(room), Some(bytes)) = (
        room[to..].first_chunk_mut::<LENGTH>(),
        from[at..].first_chunk::<LENGTH>(),
    ) {
        *room = *bytes;
    }
}

/// Appends `bytes` escaped, each maximal invalid subpart as U+FFFD, just as
/// `String::from_utf8_lossy` and Python's `decode("utf-8", "replace")` do. Says whether
/// anything was replaced.
pub fn escape_lossy(out: &mut Vec<u8>, bytes: &[u8]) -> bool {
    if simdutf8::basic::from_utf8(bytes).is_ok() {
        escape(out, bytes);
        return false;
    }
    for chunk in bytes.utf8_chunks() {
        escape(out, chunk.valid().as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice(REPLACEMENT.as_bytes());
        }
    }
    true
}

fn escape_byte(out: &mut Vec<u8>, byte: u8) {
    let (escape, length) = &ESCAPES[usize::from(byte)];
    out.extend_from_slice(escape);
    out.truncate(out.len() - escape.len() + length);
}

/// For each byte its escape and how much of that counts; nothing for one that needs none.
static ESCAPES: [([u8; 8], usize); 256] = escapes();

const fn escapes() -> [([u8; 8], usize); 256] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut table = [([0; 8], 0); 256];
    let mut byte = 0;
    while byte < 0x20 {
        let digits = (HEX[byte >> 4], HEX[byte & 15]);
        table[byte] = ([b'\\', b'u', b'0', b'0', digits.0, digits.1, 0, 0], 6);
        byte += 1;
    }
    let short: [(u8, u8); 7] = [
        (b'"', b'"'),
        (b'\\', b'\\'),
        (b'\n', b'n'),
        (b'\r', b'r'),
        (b'\t', b't'),
        (0x08, b'b'),
        (0x0c, b'f'),
    ];
    let mut at = 0;
    while at < short.len() {
        table[short[at].0 as usize] = ([b'\\', short[at].1, 0, 0, 0, 0, 0, 0], 2);
        at += 1;
    }
    table
}

const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);

/// How many bytes at the beginning need no escape.
///
/// Eight at a time: what comes here is a name, or the end of a text.
fn plain_prefix(bytes: &[u8]) -> usize {
    let (words, tail) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let found = special_bytes(u64::from_le_bytes(*word));
        if found != 0 {
            return at * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    words.len() * 8 + tail.iter().position(special).unwrap_or(tail.len())
}

/// The high bit of each byte that needs an escape. A borrow may set bits above the lowest one
/// that is right, so only the lowest counts. (Bit Twiddling Hacks, `haszero` and `hasless`.)
fn special_bytes(word: u64) -> u64 {
    let quote = word ^ (ONES * u64::from(b'"'));
    let backslash = word ^ (ONES * u64::from(b'\\'));
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    let quote = quote.wrapping_sub(ONES) & !quote;
    let backslash = backslash.wrapping_sub(ONES) & !backslash;
    (control | quote | backslash) & HIGHS
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn escaped(text: &str) -> String {
        let mut out = Vec::new();
        escape(&mut out, text.as_bytes());
        String::from_utf8(out).unwrap()
    }

    /// One byte at a time, as RFC 8259 says it: the oracle.
    fn slowly(text: &str) -> String {
        let mut out = String::new();
        for one in text.chars() {
            match one {
                '"' => out += "\\\"",
                '\\' => out += "\\\\",
                '\n' => out += "\\n",
                '\r' => out += "\\r",
                '\t' => out += "\\t",
                '\u{8}' => out += "\\b",
                '\u{c}' => out += "\\f",
                control if control < ' ' => out += &format!("\\u{:04x}", control as u32),
                plain => out.push(plain),
            }
        }
        out
    }

    #[test]
    fn text_is_escaped() {
        let cases = [
            ("", ""),
            ("main.go", "main.go"),
            ("a\"b", "a\\\"b"),
            ("a\\b", "a\\\\b"),
            ("1234567\n", "1234567\\n"),
            ("12345678\n", "12345678\\n"),
            ("\n\r\t\u{8}\u{c}", "\\n\\r\\t\\b\\f"),
            ("\0\u{1f} \u{7f}", "\\u0000\\u001f \u{7f}"),
            ("zażółć \u{1f600}\u{2028}", "zażółć \u{1f600}\u{2028}"),
        ];
        for (text, wanted) in cases {
            assert_eq!(escaped(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn every_byte_at_every_place_of_a_block() {
        for byte in 0..128_u8 {
            for place in 0..VIEW + 9 {
                let mut text = vec![b'a'; VIEW + 9];
                text[place] = byte;
                let text = String::from_utf8(text).unwrap();
                assert_eq!(escaped(&text), slowly(&text), "{byte} at {place}");
            }
        }
    }

    #[test]
    fn bytes_that_are_not_text_are_replaced() {
        let cases: &[(&[u8], &str, bool)] = &[
            (b"plain", "plain", false),
            (b"caf\xe9.txt", "caf\u{fffd}.txt", true),
            (b"\xff\xfe", "\u{fffd}\u{fffd}", true),
            // A maximal subpart is one replacement; a surrogate is three bytes of its own.
            (b"\xf0\x9f\x98", "\u{fffd}", true),
            (b"\xed\xa0\x80", "\u{fffd}\u{fffd}\u{fffd}", true),
            (b"\"\xc3\n", "\\\"\u{fffd}\\n", true),
        ];
        for (bytes, wanted, replaced) in cases {
            let mut out = Vec::new();
            assert_eq!(escape_lossy(&mut out, bytes), *replaced, "{bytes:?}");
            assert_eq!(String::from_utf8(out).unwrap(), *wanted, "{bytes:?}");
        }
    }

    #[test]
    fn a_chunk_of_which_every_byte_is_escaped() {
        let text = "\u{1}".repeat(3 * CHUNK + 7);
        assert_eq!(escaped(&text), slowly(&text));
    }

    proptest! {
        #[test]
        fn long_texts_agree_with_the_slow_way(
            runs in proptest::collection::vec((0..90_usize, any::<char>()), 0..60),
        ) {
            let plain = |(length, end): &(usize, char)| "x".repeat(*length) + &end.to_string();
            let text: String = runs.iter().map(plain).collect();
            prop_assert_eq!(escaped(&text), slowly(&text));
        }

        #[test]
        fn escaping_agrees_with_the_slow_way(text in any::<String>()) {
            prop_assert_eq!(escaped(&text), slowly(&text));
        }

        #[test]
        fn replacing_agrees_with_the_standard_library(bytes in any::<Vec<u8>>()) {
            let mut out = Vec::new();
            let replaced = escape_lossy(&mut out, &bytes);
            let wanted = String::from_utf8_lossy(&bytes);
            prop_assert_eq!(String::from_utf8(out).unwrap(), slowly(&wanted));
            prop_assert_eq!(replaced, std::str::from_utf8(&bytes).is_err());
        }
    }
}
