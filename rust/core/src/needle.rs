//! A text looked for in paths, with or without regard to case.
//!
//! Belongs here: the comparison. Banned here: what is done with a path that has it (`filter`
//! leaves it in, `walk::find` ranks it). Source: wire contract, `path_filter` and the filename
//! search.

/// What is looked for, compiled.
#[derive(Clone, Debug)]
pub struct Needle(Kind);

#[derive(Clone, Debug)]
enum Kind {
    /// As it stands.
    Exact(Vec<u8>),
    /// In lower case; only ASCII is folded.
    Ascii(Vec<u8>),
    /// In lower case, as Unicode has it.
    Unicode(String),
}

impl Needle {
    /// A text that is found anywhere in a path; in any case, unless `case_sensitive`.
    pub fn new(text: &str, case_sensitive: bool) -> Self {
        Self(match text {
            _ if case_sensitive => Kind::Exact(text.as_bytes().to_vec()),
            text if text.is_ascii() => Kind::Ascii(text.to_ascii_lowercase().into()),
            text => Kind::Unicode(text.to_lowercase()),
        })
    }

    /// Whether the path holds it.
    pub fn is_in(&self, path: &[u8]) -> bool {
        match &self.0 {
            Kind::Exact(needle) => memchr::memmem::find(path, needle).is_some(),
            Kind::Ascii(needle) => {
                memchr::memmem::find(&path.to_ascii_lowercase(), needle).is_some()
            }
            Kind::Unicode(needle) => String::from_utf8_lossy(path)
                .to_lowercase()
                .contains(needle),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_counts_only_where_asked() {
        let cases = [
            ("rEad", false, "docs/README", true),
            ("rEad", true, "docs/README", false),
            ("READ", true, "docs/README", true),
            ("s/r", false, "docs/README", true),
            ("\u{17d}LU\u{164}", false, "\u{17e}lu\u{165}", true),
            ("\u{17d}LU\u{164}", true, "\u{17e}lu\u{165}", false),
        ];
        for (text, case_sensitive, path, wanted) in cases {
            let needle = Needle::new(text, case_sensitive);
            assert_eq!(needle.is_in(path.as_bytes()), wanted, "{text} in {path}");
        }
    }
}
