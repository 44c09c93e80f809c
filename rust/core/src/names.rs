//! What a name alone tells: its extension, and whether it is code.
//!
//! Belongs here: the one published table of code extensions and names, used by listings and
//! by stat alike. Banned here: looking into files.
//!
//! Source: wire contract, section 2, "`is_code` and `code_files_only`" and "`extension`".

/// Extensions (lower case, without the dot) of files that are code or configuration. Sorted.
#[rustfmt::skip]
pub const CODE_EXTENSIONS: &[&str] = &[
    "adb", "ads", "asm", "astro", "awk", "bash", "bat", "bazel", "bzl", "c", "cc", "cfg", "cjs",
    "clj", "cljc", "cljs", "cmake", "cmd", "coffee", "conf", "cpp", "cr", "cs", "csproj", "css",
    "cts", "cu", "cuh", "cxx", "d", "dart", "diff", "dockerfile", "dtd", "dts", "dtsi", "edn",
    "ejs", "el", "elm", "env", "erb", "erl", "ex", "exs", "f", "f03", "f08", "f90", "f95", "fish",
    "fs", "fsi", "fsx", "gd", "gemspec", "glsl", "go", "gql", "gradle", "graphql", "groovy", "h",
    "haml", "handlebars", "hbs", "hcl", "hh", "hlsl", "hpp", "hrl", "hs", "htm", "html", "hxx",
    "idl", "inc", "ini", "ipynb", "java", "jinja", "jinja2", "jl", "js", "json", "json5", "jsonc",
    "jsonl", "jsx", "kt", "kts", "less", "lhs", "liquid", "lisp", "lock", "lua", "m", "mak",
    "markdown", "md", "mdx", "mjs", "mk", "ml", "mli", "mm", "mod", "mts", "nim", "nix", "pas",
    "patch", "php", "pl", "plist", "pm", "pp", "prisma", "pro", "properties", "proto", "ps1",
    "psm1", "pug", "purs", "py", "pyi", "pyx", "r", "rake", "rb", "re", "rego", "res", "rkt",
    "robot", "rs", "rst", "s", "sass", "sbt", "scala", "scm", "scss", "sh", "sln", "sol", "sql",
    "styl", "sum", "sv", "svelte", "svg", "svh", "swift", "tcl", "tex", "tf", "tfvars", "thrift",
    "toml", "ts", "tsx", "twig", "v", "vala", "vb", "vbproj", "vert", "vhd", "vhdl", "vim", "vue",
    "wat", "wgsl", "xhtml", "xml", "xsd", "xsl", "xslt", "yaml", "yml", "zig", "zsh",
];

/// Whole names (lower case) of files that are code or configuration. Sorted.
#[rustfmt::skip]
pub const CODE_NAMES: &[&str] = &[
    ".babelrc", ".bash_profile", ".bashrc", ".browserslistrc", ".clang-format", ".clang-tidy",
    ".dockerignore", ".editorconfig", ".env", ".eslintignore", ".eslintrc", ".flake8",
    ".gitattributes", ".gitignore", ".gitmodules", ".npmignore", ".npmrc", ".nvmrc",
    ".prettierignore", ".prettierrc", ".profile", ".pylintrc", ".python-version", ".ruby-version",
    ".stylelintrc", ".tool-versions", ".vimrc", ".yarnrc", ".zshrc", "berksfile", "brewfile",
    "build", "build.bazel", "caddyfile", "capfile", "cmakelists.txt", "codeowners", "containerfile",
    "dangerfile", "dockerfile", "earthfile", "fastfile", "gemfile", "gnumakefile", "go.mod",
    "go.sum", "guardfile", "jenkinsfile", "justfile", "kbuild", "kconfig", "makefile",
    "meson.build", "pipfile", "podfile", "procfile", "rakefile", "requirements.txt", "snakefile",
    "taskfile", "tiltfile", "vagrantfile", "workspace",
];

/// The extension with its dot: it begins at the last dot, which is not the name's first byte.
pub fn extension(name: &[u8]) -> Option<&[u8]> {
    match memchr::memrchr(b'.', name) {
        None | Some(0) => None,
        Some(dot) => Some(&name[dot..]),
    }
}

/// Whether a file of this name is code or configuration.
pub fn is_code(name: &[u8]) -> bool {
    if let Some(dotted) = extension(name)
        && contains(CODE_EXTENSIONS, &dotted[1..])
    {
        return true;
    }
    // `Dockerfile.dev`, `Makefile.am`: the stem says it.
    let stem = match memchr::memchr(b'.', name) {
        None | Some(0) => name,
        Some(dot) => &name[..dot],
    };
    contains(CODE_NAMES, name) || (stem != name && contains(STEMS, stem))
}

const STEMS: &[&str] = &["containerfile", "dockerfile", "jenkinsfile", "makefile"];
const LONGEST: usize = 24;

fn contains(table: &[&str], word: &[u8]) -> bool {
    if word.is_empty() || word.len() > LONGEST {
        return false;
    }
    let mut lower = [0_u8; LONGEST];
    let lower = &mut lower[..word.len()];
    lower.copy_from_slice(word);
    lower.make_ascii_lowercase();
    table
        .binary_search_by(|probe| probe.as_bytes().cmp(lower))
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_lower_case_and_fit() {
        for table in [CODE_EXTENSIONS, CODE_NAMES, STEMS] {
            assert!(table.is_sorted());
            assert!(
                table
                    .iter()
                    .all(|one| one.len() <= LONGEST && *one == one.to_lowercase())
            );
        }
    }

    #[test]
    fn names_tell_extension_and_code() {
        let cases: &[(&str, Option<&str>, bool)] = &[
            ("main.go", Some(".go"), true),
            ("UP.TXT", Some(".TXT"), false),
            ("a.tar.gz", Some(".gz"), false),
            ("none", None, false),
            (".profile", None, true),
            (".a.b", Some(".b"), false),
            ("dot.", Some("."), false),
            ("Dockerfile", None, true),
            ("Dockerfile.dev", Some(".dev"), true),
            ("Makefile.am", Some(".am"), true),
            ("CMakeLists.txt", Some(".txt"), true),
            ("README", None, false),
            ("photo.png", Some(".png"), false),
            ("", None, false),
        ];
        for (name, wanted, code) in cases {
            assert_eq!(
                extension(name.as_bytes()),
                wanted.map(str::as_bytes),
                "{name}"
            );
            assert_eq!(is_code(name.as_bytes()), *code, "{name}");
        }
    }
}
