//! Lines of text for an answer: without their end, and not longer than a person reads.
//!
//! Belongs here: where a line is cut. Source: wire contract, section 3: over 2,000 characters a
//! line is cut around the match.

use crate::json;

/// Characters of a line.
pub const LONGEST: usize = 2000;
/// How many of them may stand before the match where a line is cut.
const LEAD: usize = 500;
/// A character has at most so many bytes.
const WIDEST: usize = 4;

/// A line's text, cut if need be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clip {
    /// The inside of a JSON string.
    pub escaped: Vec<u8>,
    /// Some of the line is not in it.
    pub is_cut: bool,
    /// Bytes that are not UTF-8 were replaced.
    pub is_lossy: bool,
}

/// The line's text around the byte `at`.
pub fn around(line: &[u8], at: usize) -> Clip {
    let (from, to) = window(line, at.min(line.len()));
    let shown = &line[from..to];
    let mut escaped = Vec::with_capacity(shown.len() + 16);
    let mut is_cut = from > 0 || to < line.len();
    let is_lossy = json::escape_lossy(&mut escaped, shown);
    if is_lossy && shown.len() > LONGEST {
        // Each byte that is no text may have become a character.
        let text: String = String::from_utf8_lossy(shown)
            .chars()
            .take(LONGEST + 1)
            .collect();
        if text.chars().count() > LONGEST {
            let end = text.char_indices().last().map_or(0, |(at, _)| at);
            escaped.clear();
            json::escape(&mut escaped, &text.as_bytes()[..end]);
            is_cut = true;
        }
    }
    Clip {
        escaped,
        is_cut,
        is_lossy,
    }
}

/// How many bytes around a match decide what is shown of it: before, and from it on.
pub const REACH: (usize, usize) = (LONGEST * WIDEST, LONGEST * WIDEST);

/// The line without its end.
pub fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn window(line: &[u8], at: usize) -> (usize, usize) {
    if line.len() <= LONGEST || characters(line) <= LONGEST {
        return (0, line.len());
    }
    let from = back(line, at, LEAD);
    let to = forward(line, from, LONGEST);
    // What the end of the line leaves free goes to its beginning.
    let taken = characters(&line[from..to]);
    (back(line, from, LONGEST - taken.min(LONGEST)), to)
}

fn starts_character(byte: u8) -> bool {
    byte & 0xc0 != 0x80
}

fn characters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| starts_character(**byte)).count()
}

fn back(line: &[u8], mut at: usize, most: usize) -> usize {
    let mut left = most;
    while at > 0 && left > 0 {
        at -= 1;
        left -= usize::from(starts_character(line[at]));
    }
    at
}

fn forward(line: &[u8], mut at: usize, most: usize) -> usize {
    let mut left = most;
    while at < line.len() {
        if starts_character(line[at]) {
            if left == 0 {
                break;
            }
            left -= 1;
        }
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(line: &[u8], at: usize) -> (String, bool, bool) {
        let clip = around(line, at);
        let text = String::from_utf8(clip.escaped).unwrap();
        (text, clip.is_cut, clip.is_lossy)
    }

    #[test]
    fn lines_are_cut_around_the_match() {
        let long = format!("{}MATCH{}", "a".repeat(5000), "b".repeat(5000));
        let (shown, is_cut, _) = text(long.as_bytes(), 5000);
        assert_eq!((shown.len(), is_cut), (2000, true));
        assert_eq!(shown.find("MATCH"), Some(500));
        let (shown, ..) = text(long.as_bytes(), 9999);
        assert_eq!((shown.len(), shown.chars().last()), (2000, Some('b')));
        let wide = "\u{17e}".repeat(2000);
        assert_eq!(text(wide.as_bytes(), 0), (wide.clone(), false, false));
        let wide = "\u{17e}".repeat(2001);
        let (shown, is_cut, is_lossy) = text(wide.as_bytes(), 1001);
        assert_eq!(
            (shown.chars().count(), is_cut, is_lossy),
            (2000, true, false)
        );
        let (shown, is_cut, is_lossy) = text(&[0x80; 9000], 4000);
        assert_eq!(
            (shown.chars().count(), is_cut, is_lossy),
            (2000, true, true)
        );
    }

    #[test]
    fn ends_are_left_out() {
        let cases: &[(&[u8], &[u8])] = &[
            (b"a\n", b"a"),
            (b"a\r\n", b"a"),
            (b"a\n\n", b"a\n"),
            (b"a", b"a"),
            (b"\n", b""),
        ];
        for (line, wanted) in cases {
            assert_eq!(without_end(line), *wanted);
        }
    }

    proptest! {
        #[test]
        fn a_match_is_shown_and_the_rest_has_its_bound(line in "[a\u{17e}\u{1f600}]{0,6000}", at in 0.0..1.0) {
            let place = (line.len() as f64 * at) as usize;
            let at = (0..=place).rev().find(|one| line.is_char_boundary(*one)).unwrap();
            let (shown, is_cut, _) = text(line.as_bytes(), at);
            let count = line.chars().count();
            prop_assert_eq!(shown.chars().count(), count.min(LONGEST));
            prop_assert_eq!(is_cut, count > LONGEST);
            let rest: String = line[at..].chars().take(LONGEST - LEAD).collect();
            prop_assert!(shown.contains(&rest));
        }
    }
}
