//! What an answer holds of what a walk sees: `path_filter`, `include_ext`, `code_files_only`.
//!
//! Belongs here: deciding by path and type alone. Banned here: ignore rules (they decide what
//! is walked), reading files. Source: wire contract, section 2, "List and stream".

use crate::directory::Kind;
use crate::names;
use crate::needle::Needle;

/// The three filters, compiled.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    needle: Option<Needle>,
    extensions: Vec<Vec<u8>>,
    code_only: bool,
}

impl Filter {
    /// `path_filter` empty and `extensions` empty mean: no such filter. Extensions are taken
    /// with or without the dot, in any case.
    pub fn new(path_filter: &str, extensions: &[String], code_only: bool) -> Self {
        let needle = (!path_filter.is_empty()).then(|| Needle::new(path_filter, false));
        let bare = |one: &String| one.strip_prefix('.').unwrap_or(one).to_ascii_lowercase();
        Self {
            needle,
            extensions: extensions
                .iter()
                .map(|one| bare(one).into_bytes())
                .collect(),
            code_only,
        }
    }

    /// Whether everything matches.
    pub fn is_empty(&self) -> bool {
        self.needle.is_none() && self.extensions.is_empty() && !self.code_only
    }

    /// Whether the entry `name` of the directory at `rel` (relative to the listed one) matches.
    pub fn matches(&self, rel: &[u8], name: &[u8], kind: Kind) -> bool {
        self.matches_name(name, kind)
            && self
                .needle
                .as_ref()
                .is_none_or(|needle| needle.is_in(&join(rel, name)))
    }

    fn matches_name(&self, name: &[u8], kind: Kind) -> bool {
        if self.code_only && (kind != Kind::File || !names::is_code(name)) {
            return false;
        }
        if self.extensions.is_empty() {
            return true;
        }
        kind != Kind::Directory
            && names::extension(name).is_some_and(|dotted| {
                let bare = &dotted[1..];
                self.extensions
                    .iter()
                    .any(|one| one.eq_ignore_ascii_case(bare))
            })
    }
}

/// The path of `name` in the directory at `rel`.
pub(crate) fn join(rel: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(rel.len() + 1 + name.len());
    if !rel.is_empty() {
        path.extend_from_slice(rel);
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_decide_by_path_and_type() {
        let ext = |one: &str| Filter::new("", &[one.to_owned()], false);
        let path = |one: &str| Filter::new(one, &[], false);
        let cases: &[(Filter, &str, &str, Kind, bool)] = &[
            (Filter::default(), "", "a", Kind::Directory, true),
            (path("DEEP"), "", "deep", Kind::Directory, true),
            (path("p/x"), "deep", "x.rs", Kind::File, true),
            (path("/deep"), "", "deep", Kind::Directory, false),
            (path("ŽLUŤ"), "", "žluťoučký", Kind::File, true),
            (ext("RS"), "", "x.rs", Kind::File, true),
            (ext(".rs"), "", "x.RS", Kind::Symlink, true),
            (ext("rs"), "", "x.rs", Kind::Directory, false),
            (ext("rs"), "", "rs", Kind::File, false),
            (ext("profile"), "", ".profile", Kind::File, false),
            (Filter::new("", &[], true), "", "a.py", Kind::File, true),
            (
                Filter::new("", &[], true),
                "",
                "a.py",
                Kind::Directory,
                false,
            ),
            (Filter::new("", &[], true), "", "a.png", Kind::File, false),
        ];
        for (filter, rel, name, kind, wanted) in cases {
            let found = filter.matches(rel.as_bytes(), name.as_bytes(), *kind);
            assert_eq!(found, *wanted, "{filter:?} {rel}/{name}");
        }
    }
}
