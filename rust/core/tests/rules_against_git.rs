//! What the rules show is what git shows: named cases and made trees.
//!
//! Oracle: `git ls-files -co --exclude-standard -z`. Source: gitignore(5).

mod rules_oracle;

use proptest::prelude::*;
use rules_oracle::{Ground, init, paths, place, track};

const FILES: [&str; 7] = [
    "a.txt",
    "b.log",
    "dir/a.txt",
    "dir/b.log",
    "dir/sub/c.log",
    "build/out",
    "x/build/out",
];

type Case = (&'static str, &'static [(&'static str, &'static str)]);

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("nothing", &[]),
    ("a name", &[(".gitignore", "a.txt\n")]),
    ("an ending", &[(".gitignore", "*.log\n")]),
    ("anchored", &[(".gitignore", "/a.txt\n/dir/b.log\n")]),
    ("a middle slash anchors", &[(".gitignore", "dir/a.txt\nsub/c.log\n")]),
    ("directories only", &[(".gitignore", "build/\n")]),
    ("negated", &[(".gitignore", "*.log\n!b.log\n")]),
    ("negated below", &[(".gitignore", "*.log\n"), ("dir/.gitignore", "!b.log\n")]),
    ("no way back from an ignored directory", &[(".gitignore", "dir/\n!dir/a.txt\n")]),
    ("contents of a directory", &[(".gitignore", "dir/*\n!dir/sub/\n")]),
    ("double star before", &[(".gitignore", "**/c.log\n")]),
    ("double star after", &[(".gitignore", "dir/**\n")]),
    ("double star after, directories", &[(".gitignore", "dir/**/\n")]),
    ("double star between", &[(".gitignore", "dir/**/c.log\nx/**/out\n")]),
    ("double star between nothing", &[(".gitignore", "dir/**/a.txt\n")]),
    ("double star twice", &[(".gitignore", "**/dir/**/**/c.log\n")]),
    ("double star alone", &[(".gitignore", "**\n!*.txt\n!**/\n")]),
    ("triple star", &[(".gitignore", "dir/***/c.log\n")]),
    ("double star after a name", &[(".gitignore", "di**/c.log\nx/bu**\n"), ("di/c.log", ""), ("dic.log", "")]),
    ("double star after a name, negated", &[(".gitignore", "*\n!*/\n!d**/c.log\n!b**/\n!bui**\n")]),
    ("double star after a name, then more", &[(".gitignore", "d**/**/**/c.log\nx**/**\n")]),
    ("double star after a wildcard is one", &[(".gitignore", "d?r**/c.log\n")]),
    ("double star and an escaped slash", &[(".gitignore", "**\\/c.log\ndir/**\\/b.log\n")]),
    ("escaped slash", &[(".gitignore", "dir\\/a.txt\nbuild\\/\n")]),
    ("doubled slash", &[(".gitignore", "dir//a.txt\n//a.txt\nbuild//\n")]),
    ("braces are literal", &[(".gitignore", "{a,b}.*\n"), ("{a,b}.txt", ""), ("{a,b}.x", "")]),
    ("empty braces", &[(".gitignore", "*.txt{}\n")]),
    ("class", &[(".gitignore", "[ab].*\n")]),
    ("negated class", &[(".gitignore", "[!a].*\n[^a]uild\n")]),
    ("range", &[(".gitignore", "[a-b].[l-t]*\n")]),
    ("posix class", &[(".gitignore", "[[:digit:]].log\n"), ("1.log", ""), ("d.log", "")]),
    ("posix classes", &[(".gitignore", "[[:upper:][:punct:]]\nx[[:space:]]\n"), ("A", ""), ("a", ""), ("~", ""), ("x\t", ""), ("x\u{b}", "")]),
    ("posix class unknown", &[(".gitignore", "[[:nothing:]].log\n"), ("n.log", "")]),
    ("posix class half", &[(".gitignore", "[[:digit].log\n[[:]x\n"), ("d.log", ""), ("[x", ""), (":x", "")]),
    ("class with a bracket", &[(".gitignore", "[]a]x\n[[]y\n[!]]z\n"), ("]x", ""), ("[y", ""), ("az", ""), ("]z", "")]),
    ("class with a minus", &[(".gitignore", "[-a]x\n[a-]y\n[b-a]z\n[a-c-e]w\n"), ("-x", ""), ("-y", ""), ("az", ""), ("dw", ""), ("-w", ""), ("ew", "")]),
    ("class with a backslash", &[(".gitignore", "[\\]]x\n[\\\\]y\n[a-\\c]z\n"), ("]x", ""), ("\\y", ""), ("bz", "")]),
    ("unclosed class hides nothing", &[(".gitignore", "[ab.txt\n"), ("[ab.txt", "")]),
    ("class with slash", &[(".gitignore", "dir[/]a.txt\ndi[/r]\n")]),
    ("question mark", &[(".gitignore", "?.txt\n"), ("é.txt", "")]),
    ("two question marks are two bytes", &[(".gitignore", "??.txt\n"), ("é.txt", "")]),
    ("star and slash", &[(".gitignore", "dir/*.log\n*/*/c.*\n")]),
    ("escaped hash", &[(".gitignore", "\\#a\n#b\n"), ("#a", ""), ("#b", "")]),
    ("escaped mark", &[(".gitignore", "\\!a\n"), ("!a", "")]),
    ("escaped star", &[(".gitignore", "\\*.log\n"), ("*.log", "")]),
    ("escaped letter", &[(".gitignore", "\\a.txt\nd\\ir/b.log\n")]),
    ("trailing blanks", &[(".gitignore", "a.txt  \nb.log\\ \n"), ("b.log ", "")]),
    ("trailing blanks, some escaped", &[(".gitignore", "a\\  \nb \\ c  \nd\t\n"), ("a ", ""), ("b  c", ""), ("d\t", "")]),
    ("leading blanks", &[(".gitignore", " a.txt\n"), (" a.txt", "")]),
    ("carriage return", &[(".gitignore", "a.txt\r\nb.log\r\n")]),
    ("carriage return doubled", &[(".gitignore", "a.txt\r\r\n"), ("a.txt\r", "")]),
    ("carriage return at the very end", &[(".gitignore", "a.txt\r")]),
    ("no newline at the end", &[(".gitignore", "a.txt")]),
    ("byte order mark", &[(".gitignore", "\u{feff}a.txt\n")]),
    ("NUL", &[(".gitignore", "a.txt\0b\nb\0\n*\0.log\n!build\n"), ("b", "")]),
    ("blank lines", &[(".gitignore", "\n\n  \na.txt\n")]),
    ("only a slash", &[(".gitignore", "/\n//\n!\n!/\n")]),
    ("trailing backslash", &[(".gitignore", "a.txt\\\nb.log\n"), ("a.txt\\", "")]),
    ("trailing backslash and slash", &[(".gitignore", "build\\/\ndir\\\\/\n"), ("dir\\/x", "")]),
    ("exclude file", &[(".git/info/exclude", "*.log\n")]),
    ("gitignore over exclude", &[(".git/info/exclude", "*.log\n"), (".gitignore", "!b.log\n")]),
    ("exclude is anchored at the root", &[(".git/info/exclude", "/build\n/c.log\n")]),
    ("last rule wins", &[(".gitignore", "a.txt\n!a.txt\n*.txt\n")]),
    ("last rule wins, by kind", &[(".gitignore", "build\n!build/\nb.log\n!b.log/\n")]),
    ("nested rules", &[("dir/.gitignore", "/a.txt\nsub/\n"), (".gitignore", "b.log\n")]),
    ("nested rules in an ignored directory", &[("dir/.gitignore", "!*\n"), (".gitignore", "dir\n")]),
    ("all but", &[(".gitignore", "*\n!*/\n!*.txt\n")]),
    ("a rules file that is a directory", &[(".gitignore/x", "a.txt\n")]),
    ("upper case", &[(".gitignore", "A.TXT\n*.LOG\n")]),
    ("case folded", &[(".git/config", "[core]\n\tbare = false\n\tignoreCase\n"), (".gitignore", "A.TXT\n*.LOG\nBU[H-J]LD\n\\X\n[D]ir\n[[:upper:]]z\n"), ("yz", ""), ("Xx", "")]),
    ("stars without end", &[(".gitignore", "*a*a*a*a*a*a*a*b\n**/*a*a*a*a*a*a*b/**/x\n"), ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "")]),
    ("excludes of the configuration", &[(".git/config", "[core]\n\tbare = false\n\texcludesFile = my/excludes ; mine\n"), ("my/excludes", "*.log\n")]),
];

fn lay(case: &Case) -> Ground {
    let ground = Ground::repository(&FILES.map(|name| (name, "")));
    ground.put(case.1);
    ground
}

#[test]
fn named_cases_show_what_git_shows() {
    for case in CASES {
        let ground = lay(case);
        assert_eq!(ground.shown(), ground.visible(), "{}", case.0);
    }
}

#[test]
fn named_cases_never_hide_what_is_tracked() {
    for case in CASES {
        let ground = Ground::repository(&FILES.map(|name| (name, "")));
        track(
            &ground.user,
            &ground.root,
            &[b"b.log", b"dir/sub/c.log", b"x/build/out"],
        );
        ground.put(case.1);
        assert_eq!(ground.shown(), ground.visible(), "{}", case.0);
    }
}

#[test]
fn bytes_that_are_no_text_are_bytes() {
    let ground = Ground::repository(&[("a", ""), ("b.log", "")]);
    for name in [&b"\xffx"[..], b"\xe9", b"x\xfe"] {
        assert!(place(&ground.root, name, b""));
    }
    place(&ground.root, b".gitignore", b"\xff*\n?\n*[\xfd-\xfe]\n");
    assert_eq!(ground.shown(), ground.visible());
}

#[test]
fn ten_thousand_patterns() {
    type Lines = fn(u32) -> String;
    let kinds: [(&str, Lines); 5] = [
        ("anchored", |n| format!("n{n}/*.x{n}\n")),
        ("names", |n| format!("name{n}\n")),
        ("beginnings", |n| format!("begin{n}*\n")),
        ("endings", |n| format!("*end{n}\n")),
        ("within", |n| format!("*within{n}*\n")),
    ];
    let files = [
        "n7/a.x7",
        "n7/a.x8",
        "name77",
        "begin123x",
        "an-end9999",
        "awithin42b",
        "other",
    ];
    for (kind, line) in kinds {
        let ground = Ground::repository(&files.map(|name| (name, "")));
        let rules: String = (0..10_000).map(line).collect();
        ground.put(&[(".gitignore", &rules)]);
        assert_eq!(ground.shown(), ground.visible(), "{kind}");
    }
}

#[test]
fn tracked_names_fold_too() {
    let files = ["B.LOG", "b.tmp", "Dir/C.log", "Dir/d.log", "dir2/Z.log"];
    let ground = Ground::repository(&files.map(|name| (name, "")));
    ground.put(&[
        (
            ".git/config",
            "[core]\n\tbare = false\n\tignorecase = true\n",
        ),
        (".gitignore", "*.log\nDIR\n"),
    ]);
    track(
        &ground.user,
        &ground.root,
        &[b"B.LOG", b"Dir/C.log", b"b.tmp"],
    );
    assert_eq!(
        ground.shown(),
        paths(&["B.LOG", "b.tmp", "Dir/C.log", ".gitignore"])
    );
    assert_eq!(ground.shown(), ground.visible());
}

fn names() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "a", "b", "ab", "a.b", "b.log", "a b", "#a", "!b", "{a,b}", "1", "é", "aab", "A", "[a",
        "a\\", "-",
    ])
}

fn pieces() -> impl Strategy<Value = String> {
    let atoms = prop::sample::select(vec![
        "a",
        "b",
        "*",
        "*",
        "**",
        "**",
        "***",
        "?",
        "[ab]",
        "[!a]",
        "[[:alpha:]]",
        "{a,b}",
        ".log",
        "\\a",
        "1",
        "é",
        " ",
        "[a-b]",
        "[]a]",
        "[\\]a]",
        "[!-b]",
        "\\*",
        "\\/",
        "A",
        "[",
        "]",
        "\\",
    ]);
    prop::collection::vec(atoms, 1..4).prop_map(|atoms| atoms.concat())
}

fn pattern() -> impl Strategy<Value = String> {
    let mark = prop::sample::select(vec!["", "", "!", "#", "\\"]);
    let lead = prop::sample::select(vec!["", "", "/", "**/", "//"]);
    let tail = prop::sample::select(vec!["", "", "/", "/**", " ", "\\ ", "\r", "//", "/**/"]);
    (mark, lead, prop::collection::vec(pieces(), 1..4), tail)
        .prop_map(|(mark, lead, parts, tail)| format!("{mark}{lead}{}{tail}", parts.join("/")))
}

fn rules() -> impl Strategy<Value = String> {
    prop::collection::vec(pattern(), 1..5).prop_map(|lines| lines.join("\n") + "\n")
}

fn tree_paths() -> impl Strategy<Value = String> {
    prop::collection::vec(names(), 1..5).prop_map(|parts| parts.join("/"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(300), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn made_trees_show_what_git_shows(
        files in prop::collection::btree_set(tree_paths(), 1..14),
        rules in prop::collection::btree_map(prop::sample::select(vec!["", "a/", "b/", "a/b/"]), rules(), 0..4),
        exclude in prop::option::of(rules()),
        user in prop::option::of(rules()),
        fold in prop::bool::weighted(0.15),
        nested in prop::option::weighted(0.3, prop::sample::select(vec!["a", "b", "a/b", "ab"])),
        tracked in 0..4_usize,
    ) {
        let ground = Ground::repository(&[]);
        // A file system that folds has no `a` beside a tracked `A`; this one may.
        let tracked = if fold { 0 } else { tracked };
        let made: Vec<&[u8]> =
            files.iter().map(String::as_bytes).filter(|name| place(&ground.root, name, b"")).collect();
        track(&ground.user, &ground.root, &made[..tracked.min(made.len())]);
        for (directory, text) in &rules {
            if ground.root.join(directory).is_dir() {
                ground.put(&[(&format!("{directory}.gitignore"), text)]);
            }
        }
        if let Some(text) = &exclude {
            ground.put(&[(".git/info/exclude", text)]);
        }
        if let Some(text) = &user {
            place(&ground.user.home, b".config/git/ignore", text.as_bytes());
        }
        if fold {
            ground.put(&[(".git/config", "[core]\n\tbare = false\n\tignorecase = true\n")]);
        }
        let inner = nested.filter(|name| {
            let tracks = made[..tracked.min(made.len())].iter().any(|one| one.starts_with(name.as_bytes()));
            ground.root.join(name).is_dir() && !tracks
        });
        let mut wanted = ground.visible();
        if let Some(name) = inner {
            init(&ground.root.join(name));
            wanted = ground.visible();
            if wanted.remove(format!("{name}/").as_bytes()) {
                let below = ground.user.visible(&ground.root.join(name));
                wanted.extend(below.into_iter().map(|path| [name.as_bytes(), b"/", &path].concat()));
            }
        }
        prop_assert_eq!(ground.shown(), wanted);
    }
}
