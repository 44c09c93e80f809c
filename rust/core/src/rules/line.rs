//! One line of a rules file: what git takes it to mean, cut into path components.
//!
//! Belongs here: marks (`!`, `/` at either end, `#`), trailing blanks, the cut at slashes.
//! Banned here: matching, files.
//!
//! Source: gitignore(5); `parse_path_pattern`, `trim_trailing_spaces` and `match_pathname`
//! in git's `dir.c`.

use super::wildcard::{Token, tokens};

/// One component of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A name, or a name with wildcards.
    Name(Vec<Token>),
    /// `**`: any number of directories; at the end, whatever lies below.
    Deep,
}

/// A pattern, understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// It began with `!`.
    pub(super) negative: bool,
    /// It ended with `/`: directories only.
    pub(super) directories: bool,
    /// Paths relative to the file's directory. Most patterns have one, some need two, and a
    /// pattern that can match no path has none.
    pub(super) ways: Vec<Vec<Part>>,
}

/// A pattern may have so many bytes, and so what is made of it stays small.
const LONGEST: usize = 65_536;

/// The lines of a rules file that hold a pattern, with their numbers from 1.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let numbered = text.split(|&byte| byte == b'\n').enumerate();
    numbered.filter_map(|(index, line)| {
        if line.is_empty() || line[0] == b'#' {
            return None;
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // Git's lines are C strings.
        let line = &line[..memchr::memchr(0, line).unwrap_or(line.len())];
        Some((index + 1, trimmed(line)))
    })
}

/// Without its trailing blanks, of which an escaped one stays.
fn trimmed(line: &[u8]) -> &[u8] {
    let mut end = 0;
    let mut at = 0;
    while at < line.len() {
        match line[at] {
            b' ' => at += 1,
            // A backslash at the very end keeps the blanks before it, as in git.
            b'\\' if at + 1 == line.len() => return line,
            b'\\' => {
                at += 2;
                end = at;
            }
            _ => {
                at += 1;
                end = at;
            }
        }
    }
    &line[..end]
}

/// What `pattern`, a line without its line end, means.
///
/// # Errors
/// Why it can never match.
pub(super) fn parse(pattern: &[u8], fold: bool) -> Result<Line, &'static str> {
    if pattern.len() > LONGEST {
        return Err("it is longer than 65,536 bytes");
    }
    let negative = pattern.starts_with(b"!");
    let pattern = &pattern[usize::from(negative)..];
    let directories = pattern.ends_with(b"/");
    let pattern = &pattern[..pattern.len() - usize::from(directories)];
    let ways = if pattern.contains(&b'/') {
        anchored(pattern.strip_prefix(b"/").unwrap_or(pattern), fold)?
    } else if pattern.is_empty() {
        Vec::new()
    } else {
        vec![vec![Part::Deep, Part::Name(tokens(pattern, false, fold)?)]]
    };
    Ok(Line {
        negative,
        directories,
        ways,
    })
}

/// A pattern with a slash: relative to the directory of its file.
///
/// Git compares what comes before the first wildcard by itself and lets `wildmatch` begin
/// after it, where a `**` then stands at the beginning and so has its full meaning:
/// `foo**/bar` matches `foo/x/bar`.
fn anchored(pattern: &[u8], fold: bool) -> Result<Vec<Vec<Part>>, &'static str> {
    let special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b'\\');
    let plain = pattern.iter().position(special).unwrap_or(pattern.len());
    let mut all: Vec<Token> = tokens(&pattern[..plain], true, fold)?;
    all.extend(tokens(&pattern[plain..], true, fold)?);
    let mut ways = Vec::new();
    let mut cut = Cut::default();
    cut.run(&all, &mut ways);
    Ok(ways)
}

/// A pattern that is being cut: whole components, and the one that has begun.
#[derive(Clone, Default)]
struct Cut {
    done: Vec<Part>,
    open: Vec<Token>,
}

impl Cut {
    /// Cuts `rest` and adds the ways it can match. Calls itself once at most, for the other
    /// meaning of a `**` that follows a name: after that only `**` between slashes is left.
    fn run(&mut self, mut rest: &[Token], ways: &mut Vec<Vec<Part>>) {
        while let Some((first, after)) = rest.split_first() {
            rest = after;
            match first {
                Token::Byte(b'/') if self.open.is_empty() => return,
                Token::Byte(b'/') => self.close(),
                Token::Deep | Token::DeepOrNothing => {
                    if !self.open.is_empty() {
                        self.other(first, rest, ways);
                    }
                    if !self.open.is_empty() || (*first == Token::Deep && !rest.is_empty()) {
                        self.open.push(Token::Star);
                        self.close();
                    }
                    self.deep();
                    if rest.is_empty() {
                        ways.push(std::mem::take(&mut self.done));
                        return;
                    }
                    rest = &rest[1..];
                }
                token => self.open.push(token.clone()),
            }
        }
        if !self.open.is_empty() {
            self.close();
            ways.push(std::mem::take(&mut self.done));
        }
    }

    /// The way in which a `**` directly after a name adds no directory.
    fn other(&self, deep: &Token, mut rest: &[Token], ways: &mut Vec<Vec<Part>>) {
        let mut cut = self.clone();
        if rest.is_empty() {
            cut.open.push(Token::Star);
        } else if *deep == Token::Deep {
            return;
        } else {
            rest = &rest[1..];
            while let [Token::DeepOrNothing, _, more @ ..] = rest {
                rest = more;
            }
        }
        cut.run(rest, ways);
    }

    fn close(&mut self) {
        self.done.push(Part::Name(std::mem::take(&mut self.open)));
    }

    fn deep(&mut self) {
        if self.done.last() != Some(&Part::Deep) {
            self.done.push(Part::Deep);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_with_a_pattern() {
        type Numbered = &'static [(usize, &'static [u8])];
        let cases: [(&[u8], Numbered); 8] = [
            (b"", &[]),
            (b"a\n\nb", &[(1, b"a"), (3, b"b")]),
            (b"#a\n\\#b\n !c", &[(2, b"\\#b"), (3, b" !c")]),
            (
                b"\xef\xbb\xbfa\n\xef\xbb\xbfb",
                &[(1, b"a"), (2, b"\xef\xbb\xbfb")],
            ),
            (b"a\r\nb\r\r\n\r\n", &[(1, b"a"), (2, b"b\r"), (3, b"")]),
            (
                b"a  \nb\\ \nc\\  \n  ",
                &[(1, b"a"), (2, b"b\\ "), (3, b"c\\ "), (4, b"")],
            ),
            (b"a \\\nb\t", &[(1, b"a \\"), (2, b"b\t")]),
            (b"a\0b\n", &[(1, b"a")]),
        ];
        for (text, wanted) in cases {
            assert_eq!(lines(text).collect::<Vec<_>>(), wanted, "{text:?}");
        }
    }

    /// The ways of a pattern, spelled.
    fn ways(pattern: &str) -> Vec<String> {
        let spell = |token: &Token| match token {
            Token::Byte(byte) => (*byte as char).to_string(),
            Token::Any => "?".into(),
            Token::Star => "*".into(),
            other => format!("<{other:?}>"),
        };
        let part = |part: &Part| match part {
            Part::Deep => "**".to_owned(),
            Part::Name(tokens) => tokens.iter().map(spell).collect(),
        };
        let line = parse(pattern.as_bytes(), false).unwrap();
        line.ways
            .iter()
            .map(|way| way.iter().map(part).collect::<Vec<_>>().join("/"))
            .collect()
    }

    #[test]
    fn patterns_are_cut_as_git_reads_them() {
        let cases: [(&str, &[&str]); 24] = [
            ("a", &["**/a"]),
            ("/a", &["a"]),
            ("a/b", &["a/b"]),
            ("a/", &["**/a"]),
            ("**/a", &["**/a"]),
            ("a/**", &["a/**"]),
            ("a/**/b", &["a/**/b"]),
            ("**/**/a", &["**/a"]),
            ("a**/b*", &["ab*", "a*/**/b*"]),
            ("a/b**", &["a/b*", "a/b*/**"]),
            ("**", &["**/*"]),
            ("/**", &["**"]),
            ("a***/b", &["ab", "a*/**/b"]),
            ("?**/b", &["?*/b"]),
            ("a/**b", &["a/*b"]),
            ("a//b", &[]),
            ("//a", &[]),
            ("/", &[]),
            ("", &[]),
            ("**\\/a", &["*/**/a"]),
            ("a**\\/b", &["a*/**/b"]),
            ("a\\/b", &["a/b"]),
            ("a**/**/b", &["ab", "a*/**/b"]),
            ("a**//", &["a"]),
        ];
        for (pattern, wanted) in cases {
            assert_eq!(ways(pattern), wanted, "{pattern}");
        }
    }

    #[test]
    fn marks_at_either_end() {
        let cases = [
            ("a", false, false),
            ("!a", true, false),
            ("a/", false, true),
            ("!/a/", true, true),
            ("\\!a", false, false),
        ];
        for (pattern, negative, directories) in cases {
            let line = parse(pattern.as_bytes(), false).unwrap();
            assert_eq!(
                (line.negative, line.directories),
                (negative, directories),
                "{pattern}"
            );
        }
    }
}
