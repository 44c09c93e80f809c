//! Where rules come from and how far they reach: above, below, nested, outside, the caller's.
//!
//! Source: wire contract, section 2, `use_gitignore` and `ignore_patterns`.

mod rules_oracle;

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use hutch_core::rules::{DirRules, RuleOptions, RuleSet, Seen, Verdict};
use rules_oracle::{Ground, Paths, git_rules, init, paths, place, track};

fn shown(ground: &Ground, below: &str) -> Paths {
    ground.user.shown(&ground.root.join(below))
}

#[test]
fn rules_above_the_listed_directory_hold() {
    let ground = Ground::repository(&[
        (".gitignore", "*.log\n/in/x\n/in/deep/y\n**/z\n"),
        ("in/.gitignore", "/w\ndeep/v\n"),
        ("in/a.log", ""),
        ("in/x", ""),
        ("in/y", ""),
        ("in/w", ""),
        ("in/deep/x", ""),
        ("in/deep/y", ""),
        ("in/deep/z", ""),
        ("in/deep/v", ""),
    ]);
    assert_eq!(shown(&ground, "in"), paths(&[".gitignore", "y", "deep/x"]));
    assert_eq!(shown(&ground, "in/deep"), paths(&["x"]));
}

#[test]
fn a_listed_directory_that_is_ignored_is_listed() {
    let ground = Ground::repository(&[
        (".gitignore", "out/\n*.log\n"),
        ("out/.gitignore", "b\n"),
        ("out/a.log", ""),
        ("out/b", ""),
        ("out/in/c", ""),
        ("out/in/b", ""),
        (".git/info/exclude", "c\n"),
    ]);
    assert_eq!(
        shown(&ground, "out"),
        paths(&[".gitignore", "a.log", "in/c"])
    );
    assert_eq!(shown(&ground, "out/in"), paths(&["b", "c"]));
    track(&ground.user, &ground.root, &[b"out/b"]);
    assert_eq!(
        shown(&ground, "out"),
        paths(&[".gitignore", "a.log", "b", "in/c"])
    );
}

#[test]
fn inside_git_s_own_directory_no_rules_hold() {
    let ground = Ground::repository(&[(".gitignore", "*\n")]);
    assert_eq!(shown(&ground, ".git"), paths(&["HEAD", "config"]));
}

#[test]
fn outside_a_repository_rules_at_and_below_hold() {
    let ground = Ground::new(&[
        (".gitignore", "*.log\n/in/z\n"),
        ("a.log", ""),
        ("in/.gitignore", "x\n"),
        ("in/x", ""),
        ("in/a.log", ""),
        ("in/y", ""),
        ("in/z", ""),
    ]);
    place(&ground.user.home, b".config/git/ignore", b"y\n");
    assert_eq!(
        shown(&ground, ""),
        paths(&[".gitignore", "in/.gitignore", "in/y"])
    );
    assert_eq!(
        shown(&ground, "in"),
        paths(&[".gitignore", "a.log", "y", "z"])
    );
}

#[test]
fn a_nested_repository_starts_anew() {
    let ground = Ground::repository(&[
        (".gitignore", "*.log\n/inner/b\nhidden\n"),
        ("a.log", ""),
        ("b", ""),
        ("inner/.gitignore", "b\n"),
        ("inner/a.log", ""),
        ("inner/b", ""),
        ("inner/c", ""),
        ("inner/d/a.log", ""),
        ("inner/u", ""),
        ("u", ""),
        ("hidden/a", ""),
        ("no/.git/HEAD", "nothing"),
        ("no/a.log", ""),
        ("no/b", ""),
    ]);
    for name in ["inner", "hidden"] {
        init(&ground.root.join(name));
    }
    ground.put(&[("inner/.git/info/exclude", "/c\n")]);
    place(&ground.user.home, b".config/git/ignore", b"/u\n");
    let wanted = paths(&[
        ".gitignore",
        "b",
        "inner/.gitignore",
        "inner/a.log",
        "inner/d/a.log",
        "no/b",
    ]);
    assert_eq!(shown(&ground, ""), wanted);
    assert_eq!(
        shown(&ground, "inner"),
        ground.user.visible(&ground.root.join("inner"))
    );
}

#[test]
fn a_repository_within_a_directory_that_is_in_none() {
    let ground = Ground::new(&[
        (".gitignore", "*.log\n"),
        ("r/a.log", ""),
        ("r/b.tmp", ""),
        ("r/.gitignore", "*.tmp\n"),
    ]);
    init(&ground.root.join("r"));
    assert_eq!(
        shown(&ground, ""),
        paths(&[".gitignore", "r/.gitignore", "r/a.log"])
    );
}

#[test]
fn a_submodule_is_never_hidden() {
    let ground = Ground::repository(&[
        (".gitignore", "sub\n*.log\n"),
        ("sub/a.log", ""),
        ("sub/b", ""),
    ]);
    init(&ground.root.join("sub"));
    let null = "1234567890123456789012345678901234567890";
    ground.user.git(
        &ground.root,
        &[
            "update-index",
            "--add",
            "--cacheinfo",
            &format!("160000,{null},sub"),
        ],
    );
    assert_eq!(
        shown(&ground, ""),
        paths(&[".gitignore", "sub/a.log", "sub/b"])
    );
}

#[test]
fn worktrees_share_the_excludes() {
    let ground = Ground::new(&[("main/a", "")]);
    let (user, main, side) = (
        &ground.user,
        ground.root.join("main"),
        ground.root.join("side"),
    );
    user.git(&main, &["init", "-q"]);
    user.git(&main, &["add", "a"]);
    user.git(
        &main,
        &[
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@b",
            "commit",
            "-q",
            "-m",
            "a",
        ],
    );
    user.git(&main, &["worktree", "add", "-q", "../side"]);
    ground.put(&[
        ("side/.gitignore", "*.log\n"),
        ("side/x.log", ""),
        ("side/y.tmp", ""),
        ("main/.git/info/exclude", "*.tmp\na\n"),
    ]);
    assert_eq!(user.shown(&side), paths(&[".gitignore", "a"]));
    assert_eq!(user.shown(&side), user.visible(&side));
}

#[test]
fn a_link_into_a_repository_follows_its_rules() {
    let ground = Ground::new(&[
        ("r/.gitignore", "*.log\n"),
        ("r/in/a.log", ""),
        ("r/in/b", ""),
    ]);
    init(&ground.root.join("r"));
    symlink("r/in", ground.root.join("link")).unwrap();
    assert_eq!(shown(&ground, "link"), paths(&["b"]));
}

#[test]
fn settings_of_the_user_name_the_excludes() {
    let ground = Ground::repository(&[("a.log", ""), ("b.tmp", ""), ("c", ""), ("d", "")]);
    let home = &ground.user.home;
    place(home, b".config/git/ignore", b"*.log\n");
    assert_eq!(
        (ground.shown(), ground.shown()),
        (paths(&["b.tmp", "c", "d"]), ground.visible())
    );
    place(
        home,
        b".config/git/config",
        b"[core]\n\texcludesfile = \"~/of mine\" # here\n",
    );
    place(home, b"of mine", b"*.tmp\n");
    assert_eq!(
        (ground.shown(), ground.shown()),
        (paths(&["a.log", "c", "d"]), ground.visible())
    );
    place(
        home,
        b".gitconfig",
        b"[user]\nname=x\n[Core \"no\"] excludesfile=/x\n[CORE] ExcludesFile = ~/\\\nlast\n",
    );
    place(home, b"last", b"c\n");
    assert_eq!(
        (ground.shown(), ground.shown()),
        (paths(&["a.log", "b.tmp", "d"]), ground.visible())
    );
    ground.put(&[(".git/config", "[core]\nexcludesfile=\n")]);
    assert_eq!(
        (ground.shown(), ground.shown()),
        (paths(&["a.log", "b.tmp", "c", "d"]), ground.visible())
    );
}

#[test]
fn an_index_of_every_version_and_format_is_read() {
    let long = format!("{0}/{0}/{0}/x.log", "n".repeat(250));
    for format in ["sha1", "sha256"] {
        for version in ["2", "3", "4"] {
            let ground = Ground::new(&[
                ("a.log", ""),
                ("b.log", ""),
                ("d/e/f", ""),
                ("d/g", ""),
                (&long, ""),
                (".gitignore", "*\n"),
            ]);
            ground.user.git(
                &ground.root,
                &["init", "-q", &format!("--object-format={format}")],
            );
            track(
                &ground.user,
                &ground.root,
                &[b"b.log", b"d/e/f", long.as_bytes()],
            );
            ground.put(&[("new", ""), ("d/z.log", "")]);
            ground.user.git(&ground.root, &["add", "-f", "-N", "new"]);
            ground
                .user
                .git(&ground.root, &["update-index", "--index-version", version]);
            let wanted = paths(&["b.log", "d/e/f", "new", &long]);
            assert_eq!(
                (ground.shown(), ground.visible()),
                (wanted.clone(), wanted),
                "{format} {version}"
            );
            assert!(ground.notices().is_empty());
        }
    }
}

#[test]
fn an_index_that_changes_is_read_again() {
    let ground = Ground::repository(&[("a.log", ""), ("b.log", ""), (".gitignore", "*.log\n")]);
    assert_eq!(ground.shown(), paths(&[".gitignore"]));
    track(&ground.user, &ground.root, &[b"a.log"]);
    assert_eq!(ground.shown(), paths(&[".gitignore", "a.log"]));
    ground
        .user
        .git(&ground.root, &["rm", "-q", "--cached", "a.log"]);
    assert_eq!(ground.shown(), paths(&[".gitignore"]));
}

#[test]
fn an_index_that_cannot_be_used_leaves_the_rules_and_says_so() {
    let whole = {
        let ground = Ground::repository(&[("a.log", ""), ("b.log", "")]);
        track(&ground.user, &ground.root, &[b"a.log", b"b.log"]);
        fs::read(ground.root.join(".git/index")).unwrap()
    };
    let mut unsorted = whole.clone();
    unsorted[12 + 62] = b'z';
    let mut version = whole.clone();
    version[7] = 9;
    let cases: [(&str, &[u8]); 6] = [
        ("nonsense", b"DIRC nonsense"),
        ("empty", b""),
        ("text", b"hello, I am no index at all"),
        ("cut", &whole[..whole.len() - 60]),
        ("unsorted", &unsorted),
        ("version", &version),
    ];
    for (case, index) in cases {
        let ground = Ground::repository(&[("a.log", ""), ("b", ""), (".gitignore", "*.log\n")]);
        fs::write(ground.root.join(".git/index"), index).unwrap();
        assert_eq!(ground.shown(), paths(&[".gitignore", "b"]), "{case}");
        let notices = ground.notices();
        assert_eq!(notices.len(), 1, "{case}");
        assert!(notices[0].path.ends_with(b"/.git/index"), "{case}");
        assert!(
            notices[0].message.contains("the index cannot be used"),
            "{case}"
        );
    }
}

#[test]
fn split_and_sparse_indexes_say_so() {
    let ground = Ground::repository(&[("a.log", ""), (".gitignore", "*.log\n")]);
    track(&ground.user, &ground.root, &[b"a.log"]);
    ground
        .user
        .git(&ground.root, &["update-index", "--split-index"]);
    assert!(ground.notices()[0].message.contains("split"));
    ground
        .user
        .git(&ground.root, &["update-index", "--no-split-index"]);
    assert!(ground.notices().is_empty());
    let mut index = fs::read(ground.root.join(".git/index")).unwrap();
    index.splice(index.len() - 20..index.len() - 20, *b"sdir\0\0\0\0");
    fs::write(ground.root.join(".git/index"), index).unwrap();
    assert!(ground.notices()[0].message.contains("sparse"));
}

#[test]
fn a_conflict_s_stages_are_one_name() {
    let ground = Ground::repository(&[(".gitignore", "*.log\n"), ("a.log", ""), ("b.log", "")]);
    let git = |words: &[&str]| ground.user.git(&ground.root, words);
    let blob = String::from_utf8(git(&["hash-object", "-w", "a.log"])).unwrap();
    let info: String = (1..4)
        .map(|stage| format!("100644 {} {stage}\ta.log\n", blob.trim()))
        .collect();
    ground.put(&[("info", &info)]);
    let done = Command::new("git")
        .args(["update-index", "--index-info"])
        .current_dir(&ground.root)
        .stdin(fs::File::open(ground.root.join("info")).unwrap())
        .status()
        .unwrap();
    assert!(done.success());
    assert_eq!(ground.shown(), paths(&[".gitignore", "a.log", "info"]));
}

#[test]
fn rules_files_that_are_none_are_not_read_and_never_block() {
    let ground = Ground::repository(&[
        ("rules", "a\n"),
        ("a", ""),
        ("in/a", ""),
        ("dir/a", ""),
        ("big/a", ""),
    ]);
    symlink("rules", ground.root.join(".gitignore")).unwrap();
    let fifo = ground.root.join("in/.gitignore");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    fs::create_dir(ground.root.join("dir/.gitignore")).unwrap();
    ground.put(&[("big/.gitignore", &"a\n".repeat(3 << 20))]);
    let mut told = ground.notices();
    told.sort_by(|one, other| one.path.cmp(&other.path));
    let told: Vec<String> = told.iter().map(|one| one.message.clone()).collect();
    assert_eq!(told.len(), 4, "{told:?}");
    for (message, part) in
        told.iter()
            .zip(["symbolic link", "bytes", "directory", "no regular file"])
    {
        assert!(message.contains(part), "{message}");
    }
    for name in ["a", "in/a", "dir/a", "big/a"] {
        assert!(ground.shown().contains(name.as_bytes()), "{name}");
    }
}

#[test]
fn a_line_that_can_never_match_is_told_of() {
    let bad = "[a\nb\\\n".repeat(20);
    let ground = Ground::repository(&[
        (".gitignore", "a\n[ab\nc\\\n[[:no:]]\nd\n"),
        ("in/.gitignore", &bad),
        ("a", ""),
    ]);
    let told = ground.notices();
    let lines: Vec<&str> = told
        .iter()
        .filter(|one| !one.path.ends_with(b"in/.gitignore"))
        .map(|one| one.message.split(" hides").next().unwrap())
        .collect();
    assert_eq!(lines, ["line 2", "line 3", "line 4"]);
    assert_eq!(told.len(), 3 + 9);
}

#[test]
fn notices_are_bounded() {
    let ground = Ground::repository(&[]);
    for number in 0..200 {
        ground.put(&[(&format!("d{number}/.gitignore"), "[a\n[b\n")]);
    }
    let told = ground.notices();
    assert_eq!(told.len(), 101);
    assert!(told[100].message.contains("more"));
}

#[test]
fn the_caller_s_patterns() {
    let cases: &[(&[&str], bool, &[&str])] = &[
        (&["*.log"], true, &["b", "d/b", "d/e/b", ".gitignore"]),
        (
            &["/b"],
            true,
            &["a.log", "d/a.log", "d/b", "d/e/b", ".gitignore"],
        ),
        (
            &["d/b"],
            false,
            &[
                "a.log",
                "b",
                "d/a.log",
                "d/e/b",
                "x",
                ".git/HEAD",
                ".git/config",
                ".git/index",
                ".gitignore",
            ],
        ),
        (&["d/", "b/", ".git*"], false, &["a.log", "b", "x"]),
        (&["*", "!d", "!e", "!b"], true, &["b", "d/b", "d/e/b"]),
        (
            &["!x"],
            true,
            &["a.log", "b", "x", "d/a.log", "d/b", "d/e/b", ".gitignore"],
        ),
        (
            &["#a", "", "!"],
            true,
            &["a.log", "b", "d/a.log", "d/b", "d/e/b", ".gitignore"],
        ),
    ];
    let ground = Ground::repository(&[
        ("a.log", ""),
        ("b", ""),
        ("d/a.log", ""),
        ("d/b", ""),
        ("d/e/b", ""),
    ]);
    track(&ground.user, &ground.root, &[b"a.log", b"b"]);
    ground.put(&[(".gitignore", "x\n"), ("x", "")]);
    for (patterns, use_gitignore, wanted) in cases {
        let options = RuleOptions {
            use_gitignore: *use_gitignore,
            ignore_patterns: patterns.iter().map(|one| one.as_bytes().to_vec()).collect(),
        };
        let mut found = ground.user.listing(&ground.root, &options).unwrap().files;
        found.retain(|name| !name.starts_with(b".git/objects"));
        assert_eq!(found, paths(wanted), "{patterns:?}");
    }
}

#[test]
fn a_malformed_pattern_of_the_caller_is_named() {
    let ground = Ground::new(&[]);
    for pattern in ["a[", "b\\", "[[:no:]]", "x/[a/b", "[", "\\"] {
        let options = RuleOptions {
            ignore_patterns: vec![b"fine".to_vec(), pattern.into()],
            ..git_rules()
        };
        let error = ground.user.listing(&ground.root, &options).unwrap_err();
        assert_eq!(error.0, pattern.as_bytes());
        assert!(!error.1.is_empty());
    }
}

#[test]
fn tracked_files_below_an_ignored_directory_lead_there() {
    let ground = Ground::repository(&[
        (".gitignore", "out\n"),
        ("out/a", ""),
        ("out/b", ""),
        ("out/in/c", ""),
        ("out/in/d", ""),
        ("out/no/e", ""),
        ("outer", ""),
    ]);
    track(&ground.user, &ground.root, &[b"out/a", b"out/in/c"]);
    let found = ground.user.listing(&ground.root, &git_rules()).unwrap();
    assert_eq!(found.files, ground.visible());
    assert_eq!(found.directories, paths(&["out", "out/in"]));
}

/// The rules of a repository at the root of `ground`.
fn opened(ground: &Ground) -> (fs::File, Arc<RuleSet>, Arc<DirRules>) {
    let place = fs::File::open(&ground.root).unwrap();
    let seen = Seen {
        gitignore: true,
        git: true,
    };
    let (path, user) = (rules_oracle::bytes(&ground.root), ground.user.environment());
    let (set, rules) = RuleSet::open_in(place.as_fd(), &path, seen, &git_rules(), &user).unwrap();
    (place, set, rules)
}

#[test]
fn thousands_of_levels() {
    let ground = Ground::repository(&[(".gitignore", "*.log\nd/**/x\n/d/d/y\n")]);
    let (place, set, mut rules) = opened(&ground);
    for _ in 0..100_000 {
        rules = rules.enter(&set, place.as_fd(), b"d", Seen::default(), false);
    }
    assert_eq!(rules.verdict(&set, b"a.log", false), Verdict::Ignore);
    assert_eq!(rules.verdict(&set, b"x", true), Verdict::Ignore);
    assert_eq!(rules.verdict(&set, b"y", true), Verdict::Keep);
    drop(rules);
}

#[test]
fn two_threads_enter_and_ask_at_once() {
    let ground = Ground::repository(&[(".gitignore", "*.log\n"), ("a.log", ""), ("b", "")]);
    track(&ground.user, &ground.root, &[b"a.log"]);
    let (place, set, rules) = opened(&ground);
    thread::scope(|scope| {
        for _ in 0..4 {
            let (set, rules, place) = (Arc::clone(&set), Arc::clone(&rules), &place);
            scope.spawn(move || {
                for _ in 0..200 {
                    assert_eq!(rules.verdict(&set, b"a.log", false), Verdict::Keep);
                    let inner = rules.enter(&set, place.as_fd(), b"in", Seen::default(), false);
                    assert_eq!(inner.verdict(&set, b"a.log", false), Verdict::Ignore);
                }
            });
        }
    });
}

#[test]
fn the_root_of_the_file_system_is_a_directory_like_others() {
    let ground = Ground::new(&[]);
    let root = fs::File::open(Path::new("/")).unwrap();
    let opened = RuleSet::open_in(
        root.as_fd(),
        b"/",
        Seen::default(),
        &git_rules(),
        &ground.user.environment(),
    );
    let (set, rules) = opened.unwrap();
    assert!(rules.is_empty());
    assert_eq!(rules.verdict(&set, b"etc", true), Verdict::Keep);
}
