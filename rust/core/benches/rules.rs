//! What the rules cost a listing: a verdict on every entry of a tree, and compiling.
//!
//! `HUTCH_TREE=/path cargo bench --bench rules` takes a real tree; else one is made. The
//! tree is read once beforehand, so that only the rules are measured. The rival is the
//! `ignore` crate's own matcher over the same files, a stack of them as its walker keeps.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::hint::black_box;
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hutch_core::rules::{DirRules, GitEnvironment, RuleOptions, RuleSet, Seen, Verdict};
use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// A directory, read.
struct Directory {
    path: PathBuf,
    fd: Option<File>,
    name: Vec<u8>,
    seen: Seen,
    entries: Vec<(Vec<u8>, Option<Directory>)>,
}

impl Directory {
    fn read(path: PathBuf, name: Vec<u8>) -> Self {
        let mut seen = Seen::default();
        let mut entries = Vec::new();
        for entry in fs::read_dir(&path).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_vec();
            seen.git |= name == b".git";
            seen.gitignore |= name == b".gitignore";
            if name != b".git" {
                let inner = entry.file_type().unwrap().is_dir();
                let inner = inner.then(|| Self::read(entry.path(), name.clone()));
                entries.push((name, inner));
            }
        }
        let fd = seen.gitignore.then(|| File::open(&path).unwrap());
        Self {
            path,
            fd,
            name,
            seen,
            entries,
        }
    }
}

fn ask(one: &Directory, any: &File, set: &RuleSet, rules: &Arc<DirRules>) -> (usize, usize) {
    let (mut asked, mut kept) = (0, 0);
    let empty = rules.is_empty();
    for (name, inner) in &one.entries {
        asked += 1;
        let verdict = if empty {
            Verdict::Keep
        } else {
            rules.verdict(set, name, inner.is_some())
        };
        if verdict == Verdict::Ignore {
            continue;
        }
        kept += 1;
        if let Some(inner) = inner {
            let fd = inner.fd.as_ref().unwrap_or(any);
            let only = verdict == Verdict::TrackedOnly;
            let below = rules.enter(set, fd.as_fd(), &inner.name, inner.seen, only);
            let (more, shown) = ask(inner, any, set, &below);
            (asked, kept) = (asked + more, kept + shown);
        }
    }
    (asked, kept)
}

fn ours(tree: &Directory) -> (usize, usize) {
    let options = RuleOptions {
        use_gitignore: true,
        ..RuleOptions::default()
    };
    let any = File::open(&tree.path).unwrap();
    let path = tree.path.as_os_str().as_bytes();
    let environment = GitEnvironment::default();
    let opened = RuleSet::open_in(any.as_fd(), path, tree.seen, &options, &environment);
    let (set, rules) = opened.unwrap();
    ask(tree, &any, &set, &rules)
}

fn compiled(one: &Directory, into: &mut Vec<Option<Gitignore>>) {
    let file = one.path.join(".gitignore");
    into.push(one.seen.gitignore.then(|| Gitignore::new(file).0));
    for inner in one.entries.iter().filter_map(|(_, inner)| inner.as_ref()) {
        compiled(inner, into);
    }
}

/// The same with the crate: each path against each file in force, the deepest first.
fn crate_s<'a>(
    one: &Directory,
    all: &'a [Option<Gitignore>],
    next: &mut usize,
    stack: &mut Vec<&'a Gitignore>,
    hidden: bool,
) -> usize {
    let mut kept = 0;
    let own = all[*next].as_ref();
    *next += 1;
    stack.extend(own);
    for (name, inner) in &one.entries {
        let path = one.path.join(OsStr::from_bytes(name));
        let matched = || {
            stack
                .iter()
                .rev()
                .map(|rules| rules.matched(&path, inner.is_some()))
        };
        let ignored = hidden
            || matched()
                .find(|found| !found.is_none())
                .is_some_and(|found| found.is_ignore());
        kept += usize::from(!ignored);
        if let Some(inner) = inner {
            kept += crate_s(inner, all, next, stack, ignored);
        }
    }
    stack.truncate(stack.len() - usize::from(own.is_some()));
    kept
}

fn made(root: &Path) {
    fs::create_dir_all(root.join(".git/refs")).unwrap();
    fs::create_dir_all(root.join(".git/objects")).unwrap();
    fs::write(root.join(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
    let rules = ".*\n*.a\n*.o\n*.ko\n*.asn1.[ch]\n*.bin\n*.dtb\n*.dtb.S\n*.gz\n*.tab.[ch]\n*.tar\n\
                 Module.symvers\nmodules.order\n/tags\n/linux\n!.gitignore\n/include/generated/\n*~\n\
                 \\#*#\npatches-*\n*.orig\ncscope.*\n*.c.[012]*.*\n/arch/*/include/generated/\n";
    fs::write(root.join(".gitignore"), rules).unwrap();
    for place in 0..2_000 {
        let directory = root.join(format!("d{}/sub{}/leaf{place}", place % 20, place % 200));
        fs::create_dir_all(&directory).unwrap();
        for file in 0..10 {
            fs::write(
                directory.join(format!("source_{file}.{}", ["c", "h", "o"][file % 3])),
                "",
            )
            .unwrap();
        }
    }
}

fn walking(criterion: &mut Criterion) {
    let held = tempfile::tempdir().unwrap();
    let root =
        std::env::var_os("HUTCH_TREE").map_or_else(|| held.path().to_path_buf(), PathBuf::from);
    if root == held.path() {
        made(&root);
    }
    let tree = Directory::read(root, Vec::new());
    let (asked, kept) = ours(&tree);
    println!("{asked} entries asked about, {kept} kept");
    let best = |round: &dyn Fn()| {
        let timed = (0..60).map(|_| {
            let start = Instant::now();
            round();
            start.elapsed()
        });
        timed.min().unwrap().as_nanos() / asked as u128
    };
    let own = best(&|| {
        black_box(ours(&tree));
    });
    let mut group = criterion.benchmark_group("a verdict on every entry");
    group.throughput(Throughput::Elements(asked as u64));
    group.bench_function("ours", |bench| bench.iter(|| black_box(ours(&tree))));
    let mut all = Vec::new();
    compiled(&tree, &mut all);
    let rival = best(&|| {
        black_box(crate_s(&tree, &all, &mut 0, &mut Vec::new(), false));
    });
    println!("best of 60, ns an entry: ours {own}, the ignore crate {rival}");
    group.bench_function("the ignore crate", |bench| {
        bench.iter(|| black_box(crate_s(&tree, &all, &mut 0, &mut Vec::new(), false)));
    });
    group.finish();
}

fn compiling(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("10,000 patterns");
    group.sample_size(10);
    type Lines = fn(u32) -> String;
    let kinds: [(&str, Lines); 4] = [
        ("names", |n| format!("name{n}\n")),
        ("endings", |n| format!("*.end{n}\n")),
        ("anchored", |n| format!("n{n}/*.x{n}\n")),
        ("within", |n| format!("*within{n}*\n")),
    ];
    for (kind, line) in kinds {
        let held = tempfile::tempdir().unwrap();
        let text: String = (0..10_000).map(line).collect();
        let names: Vec<Vec<u8>> = (0..1_000)
            .map(|n| format!("some_file_{n}.c").into_bytes())
            .collect();
        fs::write(held.path().join(".gitignore"), &text).unwrap();
        let fd = File::open(held.path()).unwrap();
        let path = held.path().as_os_str().as_bytes();
        let options = RuleOptions {
            use_gitignore: true,
            ..RuleOptions::default()
        };
        let seen = Seen {
            gitignore: true,
            git: false,
        };
        let open = || {
            RuleSet::open_in(fd.as_fd(), path, seen, &options, &GitEnvironment::default()).unwrap()
        };
        // The file is younger than two seconds only at first: touch it so that none is kept.
        group.bench_function(format!("{kind}: compile"), |bench| {
            bench.iter(|| {
                fs::write(held.path().join(".gitignore"), &text).unwrap();
                black_box(open())
            });
        });
        let (set, rules) = open();
        group.throughput(Throughput::Elements(names.len() as u64));
        group.bench_function(format!("{kind}: match a name"), |bench| {
            bench.iter(|| {
                names
                    .iter()
                    .filter(|name| rules.verdict(&set, name, false) == Verdict::Keep)
                    .count()
            });
        });
        group.bench_function(format!("{kind}: compile, the ignore crate"), |bench| {
            bench.iter(|| {
                let mut builder = GitignoreBuilder::new(held.path());
                for line in text.lines() {
                    builder.add_line(None, line).unwrap();
                }
                black_box(builder.build().is_ok())
            });
        });
    }
    group.finish();
}

criterion_group!(benches, walking, compiling);
criterion_main!(benches);
