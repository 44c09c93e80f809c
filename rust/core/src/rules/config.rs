//! The four settings of git's configuration that rules depend on.
//!
//! Belongs here: the syntax of git's configuration files, where the user's own lie. Banned
//! here: includes (they are ignored), every other setting.
//!
//! Source: git-config(1).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::sync::OnceLock;

use rustix::fs::CWD;

use super::files;

/// Where a user's configuration lies: the variables that git reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GitEnvironment {
    /// `HOME`
    pub home: Option<Vec<u8>>,
    /// `XDG_CONFIG_HOME`
    pub config_home: Option<Vec<u8>>,
    /// The system's file: `GIT_CONFIG_SYSTEM`, else `/etc/gitconfig`; `None` by
    /// `GIT_CONFIG_NOSYSTEM`.
    pub system: Option<Vec<u8>>,
    /// `GIT_CONFIG_GLOBAL`: read in place of the user's files.
    pub global: Option<Vec<u8>>,
}

impl GitEnvironment {
    /// This process's own, read once.
    pub fn current() -> &'static Self {
        static CURRENT: OnceLock<GitEnvironment> = OnceLock::new();
        CURRENT.get_or_init(|| {
            let get = |name: &str| std::env::var_os(name).map(OsString::into_vec);
            let filled = |name: &str| get(name).filter(|value| !value.is_empty());
            let no_system = get("GIT_CONFIG_NOSYSTEM").is_some_and(|value| truth(&value));
            let system = filled("GIT_CONFIG_SYSTEM").unwrap_or_else(|| b"/etc/gitconfig".to_vec());
            Self {
                home: filled("HOME"),
                config_home: filled("XDG_CONFIG_HOME"),
                system: Some(system).filter(|_| !no_system),
                global: get("GIT_CONFIG_GLOBAL"),
            }
        })
    }

    /// Below `$XDG_CONFIG_HOME/git`, or `~/.config/git`.
    fn in_config_home(&self, name: &str) -> Option<Vec<u8>> {
        let home = || {
            self.home
                .as_ref()
                .map(|home| [home, &b"/.config"[..]].concat())
        };
        let base = self.config_home.clone().or_else(home)?;
        Some([&base, &b"/git/"[..], name.as_bytes()].concat())
    }

    /// What the system's and the user's files set.
    pub(super) fn settings(&self) -> Settings {
        let mut settings = Settings::default();
        let mut places = vec![self.system.clone()];
        match &self.global {
            Some(global) => places.push(Some(global.clone())),
            None => {
                places.push(self.in_config_home("config"));
                places.push(
                    self.home
                        .as_ref()
                        .map(|home| [home, &b"/.gitconfig"[..]].concat()),
                );
            }
        }
        places
            .into_iter()
            .flatten()
            .for_each(|place| settings.read(&place));
        settings
    }

    /// The global excludes of a repository at `root`, if there are any.
    pub(super) fn excludes(&self, settings: &Settings, root: &[u8]) -> Option<Vec<u8>> {
        let Some(set) = &settings.excludes else {
            return self.in_config_home("ignore");
        };
        match set.as_slice() {
            b"" => None,
            [b'~', b'/', rest @ ..] => Some([self.home.as_ref()?, &b"/"[..], rest].concat()),
            [b'/', ..] => Some(set.clone()),
            _ => Some([root, b"/", set].concat()),
        }
    }
}

/// What the files set; later ones win.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// `core.excludesFile`
    pub(super) excludes: Option<Vec<u8>>,
    /// `core.ignoreCase`
    pub(super) ignore_case: bool,
    /// `extensions.objectFormat` is `sha256`
    pub(super) sha256: bool,
    /// `extensions.worktreeConfig`
    pub(super) worktree: bool,
}

impl Settings {
    /// Adds what the file at `path` sets; one that is not there or not readable sets nothing.
    pub(super) fn read(&mut self, path: &[u8]) {
        if let Ok(Some((text, _))) = files::content(CWD, path, true) {
            self.parse(&text);
        }
    }

    /// Adds what `text` sets, up to the first line that is not git's syntax.
    pub(super) fn parse(&mut self, text: &[u8]) {
        let mut reader = Reader {
            text: text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text),
            at: 0,
        };
        let mut section = Vec::new();
        while let Some(byte) = reader.peek() {
            match byte {
                b'#' | b';' => reader.skip_line(),
                b'[' => match reader.section() {
                    Some(name) => section = name,
                    None => return,
                },
                byte if byte.is_ascii_whitespace() => reader.at += 1,
                byte if byte.is_ascii_alphabetic() => match reader.variable() {
                    Some((name, value)) => self.set(&section, &name, value),
                    None => return,
                },
                _ => return,
            }
        }
    }

    fn set(&mut self, section: &[u8], name: &[u8], value: Option<Vec<u8>>) {
        let on = value.as_ref().is_none_or(|value| truth(value));
        match (section, name) {
            (b"core", b"excludesfile") => self.excludes = value.or_else(|| self.excludes.take()),
            (b"core", b"ignorecase") => self.ignore_case = on,
            (b"extensions", b"worktreeconfig") => self.worktree = on,
            (b"extensions", b"objectformat") => self.sha256 = value.as_deref() == Some(b"sha256"),
            _ => {}
        }
    }
}

/// A boolean as git reads one.
fn truth(value: &[u8]) -> bool {
    match value.to_ascii_lowercase().as_slice() {
        b"true" | b"yes" | b"on" => true,
        number => number.iter().any(|byte| matches!(byte, b'1'..=b'9')),
    }
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        self.at += 1;
        self.text.get(self.at - 1).copied()
    }

    fn skip_line(&mut self) {
        while self.next().is_some_and(|byte| byte != b'\n') {}
    }

    /// `[name]` in lower case; one with a subsection keeps it, so that it equals no name of ours.
    fn section(&mut self) -> Option<Vec<u8>> {
        let start = self.at + 1;
        let length = self.text[start..]
            .iter()
            .position(|&byte| byte == b']' || byte == b'\n')?;
        self.at = start + length + 1;
        (self.text[start + length] == b']')
            .then(|| self.text[start..start + length].to_ascii_lowercase())
    }

    fn variable(&mut self) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
        let mut name = Vec::new();
        while let Some(byte) = self
            .peek()
            .filter(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
        {
            name.push(byte.to_ascii_lowercase());
            self.at += 1;
        }
        while self
            .peek()
            .is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
        {
            self.at += 1;
        }
        match self.next() {
            None | Some(b'\n') => Some((name, None)),
            Some(b'=') => self.value().map(|value| (name, Some(value))),
            Some(b'#' | b';') => {
                self.skip_line();
                Some((name, None))
            }
            _ => None,
        }
    }

    /// A value to the end of its line: quotes, escapes, continuation, comment.
    fn value(&mut self) -> Option<Vec<u8>> {
        let (mut value, mut kept, mut quoted) = (Vec::new(), 0, false);
        loop {
            match self.next() {
                None | Some(b'\n') => break,
                Some(b'"') => {
                    quoted = !quoted;
                    kept = value.len();
                }
                Some(b'\\') => {
                    match self.next()? {
                        b'\n' => continue,
                        b'n' => value.push(b'\n'),
                        b't' => value.push(b'\t'),
                        b'b' => value.push(8),
                        byte @ (b'"' | b'\\') => value.push(byte),
                        _ => return None,
                    }
                    kept = value.len();
                }
                Some(b'#' | b';') if !quoted => {
                    self.skip_line();
                    break;
                }
                Some(byte) if quoted || !byte.is_ascii_whitespace() => {
                    value.push(byte);
                    kept = value.len();
                }
                Some(_) if value.is_empty() => {}
                Some(byte) => value.push(byte),
            }
        }
        value.truncate(kept);
        (!quoted).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_syntax_of_configuration_files() {
        let cases: [(&str, Option<&str>); 16] = [
            ("", None),
            ("[core]\nexcludesFile = /a\n", Some("/a")),
            ("[CORE]\n\tEXCLUDESFILE=/a b  \t; c\n", Some("/a b")),
            ("[core] excludesfile = \"/a # b\" # c", Some("/a # b")),
            ("[core]\nexcludesfile = /a\\\n/b\n", Some("/a/b")),
            ("[core]\nexcludesfile = /a\\\\b\\\"c\n", Some("/a\\b\"c")),
            ("[core]\nexcludesfile = \" /a \"  \r\n", Some(" /a ")),
            ("[core]\nexcludesfile =\n", Some("")),
            (
                "[core]\nexcludesfile = /a\n[core]\nexcludesfile = /b",
                Some("/b"),
            ),
            ("[core \"x\"]\nexcludesfile = /a\n", None),
            ("[other]\nexcludesfile = /a\n", None),
            (
                "# [core]\n; x\n[core]#\nbare\nexcludesfile = /a",
                Some("/a"),
            ),
            ("[core\nexcludesfile = /a\n", None),
            ("[core]\nexcludesfile = \"/a\n", None),
            ("[core]\nexcludesfile /a\n", None),
            ("\u{feff}[core]\r\nexcludesfile = /a\r\n", Some("/a")),
        ];
        for (text, wanted) in cases {
            let mut settings = Settings::default();
            settings.parse(text.as_bytes());
            assert_eq!(
                settings.excludes.as_deref(),
                wanted.map(str::as_bytes),
                "{text}"
            );
        }
    }

    #[test]
    fn booleans_and_formats() {
        let cases = [
            ("ignorecase", true),
            ("ignorecase = true", true),
            ("ignorecase = YES", true),
            ("ignorecase = 1", true),
            ("ignorecase = 0", false),
            ("ignorecase =", false),
            ("ignorecase = off", false),
            ("other = true", false),
        ];
        for (line, wanted) in cases {
            let mut settings = Settings::default();
            settings
                .parse(format!("[core]\n{line}\n[extensions]\nobjectFormat = sha256").as_bytes());
            assert_eq!(
                (settings.ignore_case, settings.sha256),
                (wanted, true),
                "{line}"
            );
        }
    }

    #[test]
    fn where_the_global_excludes_lie() {
        let user = GitEnvironment {
            home: Some(b"/h".to_vec()),
            ..GitEnvironment::default()
        };
        let xdg = GitEnvironment {
            config_home: Some(b"/x".to_vec()),
            ..user.clone()
        };
        let cases = [
            (&user, None, Some("/h/.config/git/ignore")),
            (&xdg, None, Some("/x/git/ignore")),
            (&user, Some("~/e"), Some("/h/e")),
            (&xdg, Some("/e"), Some("/e")),
            (&user, Some("e"), Some("/r/e")),
            (&user, Some(""), None),
            (&GitEnvironment::default(), None, None),
        ];
        for (environment, set, wanted) in cases {
            let settings = Settings {
                excludes: set.map(Into::into),
                ..Settings::default()
            };
            assert_eq!(
                environment.excludes(&settings, b"/r"),
                wanted.map(Into::into),
                "{set:?}"
            );
        }
    }
}
