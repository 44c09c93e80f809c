//! Lines by their newlines: finding where some end, numbering them as `cat -n` does.
//!
//! Belongs here: arithmetic on bytes. Banned here: files, and any other idea of a line (a
//! carriage return is content).

use memchr::memchr_iter;

use crate::entry::append_number;

/// How many bytes of `bytes` reach through the next `count` newlines; takes from `count` what
/// was found. All of `bytes` where there are fewer.
pub fn through_newlines(bytes: &[u8], count: &mut u64) -> usize {
    if *count == 0 {
        return 0;
    }
    // Counting alone is several times as fast as stopping at each.
    let there = newlines(bytes);
    if there < *count {
        *count -= there;
        return bytes.len();
    }
    let last = usize::try_from(*count - 1).unwrap_or(usize::MAX);
    *count = 0;
    memchr_iter(b'\n', bytes)
        .nth(last)
        .map_or(bytes.len(), |at| at + 1)
}

/// How many newlines there are.
pub fn newlines(bytes: &[u8]) -> u64 {
    memchr_iter(b'\n', bytes).count() as u64
}

/// Appends what `cat -n` puts in front of line `number`, the tab escaped for JSON.
pub fn prefix(out: &mut Vec<u8>, number: u64) {
    let digits = number.checked_ilog10().unwrap_or(0) + 1;
    for _ in digits..6 {
        out.push(b' ');
    }
    append_number(out, number);
    out.extend_from_slice(b"\\t");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newlines_are_passed() {
        let cases: &[(&str, u64, usize, u64)] = &[
            ("", 1, 0, 1),
            ("abc", 0, 0, 0),
            ("abc", 1, 3, 1),
            ("a\nb\nc", 1, 2, 0),
            ("a\nb\nc", 2, 4, 0),
            ("a\nb\nc", 3, 5, 1),
            ("\n\n\n", 3, 3, 0),
            ("\n\n\n", 2, 2, 0),
            ("\n", u64::MAX, 1, u64::MAX - 1),
        ];
        for (text, count, wanted, left) in cases {
            let mut counted = *count;
            assert_eq!(
                through_newlines(text.as_bytes(), &mut counted),
                *wanted,
                "{text:?}"
            );
            assert_eq!(counted, *left, "{text:?}");
        }
    }

    #[test]
    fn prefixes_are_those_of_cat() {
        let cases = [
            (0, "     0\\t"),
            (1, "     1\\t"),
            (999_999, "999999\\t"),
            (1_000_000, "1000000\\t"),
            (u64::MAX, "18446744073709551615\\t"),
        ];
        for (number, wanted) in cases {
            let mut out = Vec::new();
            prefix(&mut out, number);
            assert_eq!(String::from_utf8(out).unwrap(), wanted);
        }
    }
}
