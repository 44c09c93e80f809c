//! Why a watcher does not cover its tree, as a sentence.
//!
//! Belongs here: the account and its words. Banned here: what is done about it.

use rustix::io::Errno;

/// So many paths are named.
const NAMED: usize = 3;

/// What is not watched.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    beyond: usize,
    unreadable: Vec<(Vec<u8>, Errno)>,
    unreadable_count: usize,
}

impl Trouble {
    /// A directory could not be watched; true where it is the first that the limit kept out.
    pub(super) fn add(&mut self, path: &[u8], errno: Errno) -> bool {
        if errno == Errno::NOSPC {
            self.beyond += 1;
            return self.beyond == 1;
        }
        self.unreadable_count += 1;
        if self.unreadable.len() < NAMED {
            self.unreadable.push((path.to_vec(), errno));
        }
        false
    }

    /// The reason for a person; `None` where the whole tree is watched.
    pub(super) fn reason(&self) -> Option<String> {
        let parts: Vec<String> = [self.limit(), self.failures()]
            .into_iter()
            .flatten()
            .collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    fn limit(&self) -> Option<String> {
        (self.beyond > 0).then(|| {
            format!(
                "the limit of watched directories is reached (fs.inotify.max_user_watches, or \
                 --watch-directories): {} directories, with all below them, are not watched; \
                 exclude some, or raise it",
                self.beyond
            )
        })
    }

    fn failures(&self) -> Option<String> {
        let named = self.unreadable.iter().map(|(path, errno)| {
            let why = std::io::Error::from(*errno);
            format!("{} ({why})", String::from_utf8_lossy(path))
        });
        let named: Vec<String> = named.collect();
        let more = self.unreadable_count - named.len();
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        (!named.is_empty()).then(|| format!("cannot be watched: {}{more}", named.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_names_some_and_counts_the_rest() {
        let mut trouble = Trouble::default();
        assert_eq!(trouble.reason(), None);
        for path in ["/a", "/b", "/c", "/d", "/e"] {
            assert!(!trouble.add(path.as_bytes(), Errno::ACCESS));
        }
        let told = trouble.reason().unwrap();
        assert!(
            told.starts_with("cannot be watched: /a (Permission denied"),
            "{told}"
        );
        assert!(told.ends_with(" and 2 more"), "{told}");
        assert!(trouble.add(b"/f", Errno::NOSPC));
        assert!(!trouble.add(b"/g", Errno::NOSPC));
        assert!(trouble.reason().unwrap().contains("2 directories"));
    }
}
