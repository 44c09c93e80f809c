//! The wildcards of one pattern, as git's `wildmatch` reads them.
//!
//! Belongs here: turning pattern bytes into tokens, and matching tokens against one name.
//! Banned here: slashes in names (a pattern is cut into its components by `line`), files.
//! Patterns and names are bytes: `?` is one byte, as with git. Nothing recurses and nothing
//! is exponential: a name costs at most its length times the pattern's.
//!
//! Keep in step with `wildmatch.c` of git: where it is odd (an escaped capital never matches
//! when case is folded), this is odd too, since git is what users compare with.

/// Why a pattern can never match.
pub(super) const UNCLOSED: &str = "an opening bracket is never closed";
pub(super) const BAD_CLASS: &str = "a character class has an unknown name";
pub(super) const TRAILING: &str = "it ends in a backslash that escapes nothing";

/// A set of bytes, one bit each.
pub(super) type ByteSet = [u64; 4];

/// One step of a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Token {
    /// This byte. A slash only until the pattern is cut into components.
    Byte(u8),
    /// `?`
    Any,
    /// `[...]`, never a slash
    Class(Box<ByteSet>),
    /// `*`: any run without a slash
    Star,
    /// `**` before a slash: any run, or nothing together with that slash
    DeepOrNothing,
    /// `**` at the end or before an escaped slash: any run
    Deep,
}

/// The tokens of `pattern`. `paths` gives `**` its meaning between slashes; `fold` is
/// `core.ignorecase`, and then names must be given in lower case.
///
/// # Errors
/// Why it can never match.
pub(super) fn tokens(pattern: &[u8], paths: bool, fold: bool) -> Result<Vec<Token>, &'static str> {
    let mut out = Vec::with_capacity(pattern.len());
    let mut at = 0;
    while at < pattern.len() {
        let (token, next) = match pattern[at] {
            b'\\' => match pattern.get(at + 1) {
                Some(&byte) => (Token::Byte(byte), at + 2),
                None => return Err(TRAILING),
            },
            b'?' => (Token::Any, at + 1),
            b'[' => {
                let (set, next) = class(pattern, at + 1, fold)?;
                (Token::Class(Box::new(set)), next)
            }
            b'*' => star(pattern, at, paths),
            byte if fold => (Token::Byte(byte.to_ascii_lowercase()), at + 1),
            byte => (Token::Byte(byte), at + 1),
        };
        out.push(token);
        at = next;
    }
    Ok(out)
}

/// A run of stars that begins at `at`, and where it ends.
fn star(pattern: &[u8], at: usize, paths: bool) -> (Token, usize) {
    let next = at
        + pattern[at..]
            .iter()
            .take_while(|&&byte| byte == b'*')
            .count();
    let alone = next - at > 1 && paths && (at == 0 || pattern[at - 1] == b'/');
    let token = match &pattern[next..] {
        [b'/', ..] if alone => Token::DeepOrNothing,
        [] | [b'\\', b'/', ..] if alone => Token::Deep,
        _ => Token::Star,
    };
    (token, next)
}

/// The bracket expression whose first byte after `[` is at `at`, and where it ends.
fn class(pattern: &[u8], mut at: usize, fold: bool) -> Result<(ByteSet, usize), &'static str> {
    let byte = |place: usize| pattern.get(place).copied().ok_or(UNCLOSED);
    let negated = matches!(byte(at)?, b'!' | b'^');
    at += usize::from(negated);
    let mut set = [0; 4];
    let mut before = None;
    loop {
        let mut one = byte(at)?;
        match (one, before) {
            (b'\\', _) => {
                at += 1;
                one = byte(at)?;
                insert(&mut set, one);
                before = Some(one);
            }
            (b'-', Some(low)) if byte(at + 1)? != b']' => {
                at += 1;
                if byte(at)? == b'\\' {
                    at += 1;
                }
                range(&mut set, low, byte(at)?, fold);
                before = None;
            }
            (b'[', _) if pattern.get(at + 1) == Some(&b':') => {
                let end = at
                    + 2
                    + pattern[at + 2..]
                        .iter()
                        .position(|&b| b == b']')
                        .ok_or(UNCLOSED)?;
                if end > at + 2 && pattern[end - 1] == b':' {
                    named(&mut set, &pattern[at + 2..end - 1], fold)?;
                    at = end;
                    before = None;
                } else {
                    insert(&mut set, b'[');
                    before = Some(b'[');
                }
            }
            _ => {
                insert(&mut set, one);
                before = Some(one);
            }
        }
        at += 1;
        if byte(at)? == b']' {
            break;
        }
    }
    if negated {
        set = set.map(|bits| !bits);
    }
    set[usize::from(b'/' >> 6)] &= !(1 << (b'/' & 63));
    Ok((set, at + 1))
}

pub(super) fn insert(set: &mut ByteSet, byte: u8) {
    set[usize::from(byte >> 6)] |= 1 << (byte & 63);
}

pub(super) fn holds(set: &ByteSet, byte: u8) -> bool {
    set[usize::from(byte >> 6)] & (1 << (byte & 63)) != 0
}

/// `low-high`; a folded name is in lower case, and its capital counts as well.
fn range(set: &mut ByteSet, low: u8, high: u8, fold: bool) {
    for byte in low..=high {
        insert(set, byte);
        if fold && byte.is_ascii_uppercase() {
            insert(set, byte.to_ascii_lowercase());
        }
    }
}

/// `[:name:]`, ASCII alone, with git's own idea of blanks.
fn named(set: &mut ByteSet, name: &[u8], fold: bool) -> Result<(), &'static str> {
    let test: fn(u8) -> bool = match name {
        b"alnum" => |byte| byte.is_ascii_alphanumeric(),
        b"alpha" => |byte| byte.is_ascii_alphabetic(),
        b"blank" => |byte| matches!(byte, b' ' | b'\t'),
        b"cntrl" => |byte| byte.is_ascii_control(),
        b"digit" => |byte| byte.is_ascii_digit(),
        b"graph" => |byte| byte.is_ascii_graphic(),
        b"lower" => |byte| byte.is_ascii_lowercase(),
        b"print" => |byte| matches!(byte, b' '..=b'~'),
        b"punct" => |byte| byte.is_ascii_punctuation(),
        b"space" => |byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'),
        b"upper" if fold => |byte| byte.is_ascii_alphabetic(),
        b"upper" => |byte| byte.is_ascii_uppercase(),
        b"xdigit" => |byte| byte.is_ascii_hexdigit(),
        _ => return Err(BAD_CLASS),
    };
    (0..=255)
        .filter(|&byte| test(byte))
        .for_each(|byte| insert(set, byte));
    Ok(())
}

/// One component with wildcards: what it must begin with, what it must end with, and the rest.
#[derive(Clone, Debug)]
pub(super) struct Glob {
    head: Box<[u8]>,
    middle: Box<[Token]>,
    tail: Box<[u8]>,
    /// Bytes that a name must have at least.
    shortest: usize,
    /// What [`letters`] of a name must hold.
    needs: u64,
}

/// Which bytes occur in `name`: digits and marks have a bit each, letters one for both cases.
/// Most patterns are ruled out by this alone.
pub(super) fn letters(name: impl IntoIterator<Item = u8>) -> u64 {
    let bit = |byte: u8| (byte & 31) | ((!byte & 64) >> 1);
    name.into_iter().fold(0, |bits, byte| bits | 1 << bit(byte))
}

impl Glob {
    /// From the tokens of one component, of which at least one is a wildcard.
    pub(super) fn new(tokens: &[Token]) -> Self {
        let head = literal(tokens.iter());
        let tail: Vec<u8> = literal(tokens[head.len()..].iter().rev())
            .into_iter()
            .rev()
            .collect();
        let middle = tokens[head.len()..tokens.len() - tail.len()].to_vec();
        let bytes = tokens.iter().filter_map(|token| match token {
            Token::Byte(byte) => Some(*byte),
            _ => None,
        });
        let needs = letters(bytes);
        let shortest = tokens.iter().filter(|&token| *token != Token::Star).count();
        Self {
            head: head.into(),
            middle: middle.into(),
            tail: tail.into(),
            shortest,
            needs,
        }
    }

    /// The bytes that every match begins with.
    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    /// The bytes that every match ends with.
    pub(super) fn tail(&self) -> &[u8] {
        &self.tail
    }

    /// The longest run of bytes that every match holds between head and tail.
    pub(super) fn inner(&self) -> Vec<u8> {
        let runs = self.middle.split(|token| !matches!(token, Token::Byte(_)));
        runs.max_by_key(|run| run.len())
            .map(|run| literal(run.iter()))
            .unwrap_or_default()
    }

    /// Bytes of memory beyond the value itself, roughly.
    pub(super) fn weight(&self) -> usize {
        self.head.len() + self.tail.len() + self.middle.len() * 48
    }

    /// True if `name`, whose [`letters`] are `has`, matches.
    pub(super) fn matches(&self, name: &[u8], has: u64) -> bool {
        if self.needs & !has != 0 || name.len() < self.shortest {
            return false;
        }
        if !self.begins(name) || !self.ends(name) {
            return false;
        }
        let rest = &name[self.head.len()..name.len() - self.tail.len()];
        matches!(*self.middle, [Token::Star]) || run(&self.middle, rest)
    }
}

/// Comparing nothing is left out and not left to `memcmp`: an empty slice may point to an
/// unmapped page, where a masked load of AVX-512 costs some 200 cycles.
impl Glob {
    fn begins(&self, name: &[u8]) -> bool {
        self.head.is_empty() || name.starts_with(&self.head)
    }

    fn ends(&self, name: &[u8]) -> bool {
        self.tail.is_empty() || name.ends_with(&self.tail)
    }
}

/// The bytes before the first wildcard.
fn literal<'a>(tokens: impl Iterator<Item = &'a Token>) -> Vec<u8> {
    tokens
        .map_while(|token| {
            if let Token::Byte(byte) = token {
                Some(*byte)
            } else {
                None
            }
        })
        .collect()
}

/// Greedy matching that goes back to the last star only: enough within one component,
/// since an earlier star can give nothing that the last one cannot.
fn run(tokens: &[Token], name: &[u8]) -> bool {
    let (mut at, mut place) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while place < name.len() || at < tokens.len() {
        match tokens.get(at) {
            Some(Token::Star | Token::Deep | Token::DeepOrNothing) => {
                back = Some((at + 1, place));
                at += 1;
                continue;
            }
            Some(token) if place < name.len() && accepts(token, name[place]) => {
                at += 1;
                place += 1;
                continue;
            }
            _ => {}
        }
        let Some((after, from)) = back.filter(|&(_, from)| from < name.len()) else {
            return false;
        };
        let next = match tokens.get(after) {
            Some(Token::Byte(byte)) => {
                match name[from + 1..].iter().position(|other| other == byte) {
                    Some(skipped) => from + 1 + skipped,
                    None => return false,
                }
            }
            None => return true,
            _ => from + 1,
        };
        back = Some((after, next));
        (at, place) = (after, next);
    }
    true
}

fn accepts(token: &Token, byte: u8) -> bool {
    match token {
        Token::Byte(own) => *own == byte,
        Token::Class(set) => holds(set, byte),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str, fold: bool) -> bool {
        let glob = Glob::new(&tokens(pattern.as_bytes(), false, fold).unwrap());
        glob.matches(name.as_bytes(), letters(name.bytes()))
    }

    #[test]
    fn globs() {
        let cases = [
            ("*", "", true),
            ("*", "abc", true),
            ("*.o", ".o", true),
            ("*.o", "a.ob", false),
            ("a*", "a", true),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "axbxbxc", true),
            ("a*b*c", "axbxbx", false),
            ("*ab*ab*", "xabab", true),
            ("*ab*ab*", "xaba", false),
            ("?", "", false),
            ("?", "x", true),
            ("??", "é", true),
            ("?", "é", false),
            ("a?c*", "abc", true),
            ("*?x", "x", false),
            ("*?x", "yx", true),
            ("**a", "ba", true),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("[]-a]", "]", true),
            ("[]-a]", "^", true),
            ("[]-a]", "b", false),
            ("[--0]", "/", false),
            ("[a-]", "-", true),
            ("[-a]", "-", true),
            ("[\\]]", "]", true),
            ("[a\\-c]", "-", true),
            ("[[:digit:]]*", "1x", true),
            ("[[:digit:]-z]", "-", true),
            ("[[:digit:]-z]", "b", false),
            ("[[:alpha]", ":", true),
            ("[[:]x", "[x", true),
            ("[!/]", "/", false),
            ("\\*a*", "*ab", true),
        ];
        for (pattern, name, wanted) in cases {
            assert_eq!(matches(pattern, name, false), wanted, "{pattern} {name}");
        }
    }

    #[test]
    fn folded_globs_match_names_in_lower_case() {
        let cases = [
            ("A*B", "axb", true),
            ("[A]*", "a", false),
            ("[A-C]*", "b", true),
            ("[[:upper:]]*", "b", true),
            ("\\A*", "a", false),
            ("[[:upper:]]*", "1", false),
        ];
        for (pattern, name, wanted) in cases {
            assert_eq!(matches(pattern, name, true), wanted, "{pattern} {name}");
        }
    }

    #[test]
    fn what_can_never_match_says_why() {
        let cases = [
            ("[", UNCLOSED),
            ("a[", UNCLOSED),
            ("[]", UNCLOSED),
            ("[!]", UNCLOSED),
            ("[a-", UNCLOSED),
            ("[a\\", UNCLOSED),
            ("[[:alpha:", UNCLOSED),
            ("[[:alpha:]", UNCLOSED),
            ("[[:x:]]", BAD_CLASS),
            ("\\", TRAILING),
            ("a*\\", TRAILING),
            ("[a-\\", UNCLOSED),
            ("[[:ALPHA:]]", BAD_CLASS),
        ];
        for (pattern, wanted) in cases {
            assert_eq!(
                tokens(pattern.as_bytes(), true, false),
                Err(wanted),
                "{pattern}"
            );
        }
    }

    #[test]
    fn stars_cost_no_more_than_their_product() {
        let pattern = "*a".repeat(100) + "*b";
        assert!(!matches(&pattern, &"a".repeat(255), false));
    }
}
