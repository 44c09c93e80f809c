// `files.list` and `files.stream`, with every option that they have.
// Source: wire contract, section 2, "List and stream". Oracle: `node:fs`.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { AuthenticationError, NotFoundError } from "oblien";
import { Runtime } from "oblien/runtime";
import { all, check, plant, refused } from "./check.mjs";
import { documented } from "./documented.mjs";

const SMALL = {
  "b.txt": "bee\n",
  "a/inner.py": "print(1)\n",
  "a/deep/er/x.rs": "fn main() {}\n",
  "a-b": "",
  "Z.JS": "let z;\n",
  "empty/": null,
  ".hidden": "h",
};
const FLAT = [
  ".hidden", "Z.JS", "a", "a/deep", "a/deep/er", "a/deep/er/x.rs", "a/inner.py", "a-b", "b.txt", "empty",
];

const ODD = [
  "plus + and space", "a&b=c", "100%25", "#hash?", "semi;colon", "späß", "日本語", "👩‍💻", "e\u0301",
  "line\nbreak", "quote\"'`", "back\\slash", "tab\t", "\u2028", "\u0001", "~", "-r", "...",
];

// In the order of a walk: a directory's entries stand right after it, `/` below every character.
const key = (name) => Buffer.from(name.replaceAll("/", "\0"));
const bytewise = (one, other) => Buffer.compare(key(one), key(other));
const relative = (tree) => (entry) => path.relative(tree, entry.path);
const byPath = (entries) => Object.fromEntries(entries.map((one) => [one.path, one]));

async function listed(rt, tree, options) {
  const told = documented("FileListResponse", await rt.files.list({ dirPath: tree, ...options }));
  assert.equal(told.success, true);
  assert.equal(told.path, tree);
  return told;
}

async function streamed(rt, tree, options) {
  const entries = await all(rt.files.stream({ dirPath: tree, ...options }));
  return entries.map((one) => documented("FileEntry", one));
}

// --- list ---------------------------------------------------------------------------------------

check("files.list tells of the direct children", async ({ rt, tree }) => {
  const { entries, count } = await listed(rt, plant(tree, SMALL), {});
  assert.deepEqual(entries.map(relative(tree)), [".hidden", "Z.JS", "a", "a-b", "b.txt", "empty"]);
  assert.equal(count, entries.length);
  for (const one of entries) {
    const info = fs.lstatSync(one.path);
    assert.equal(one.name, path.basename(one.path));
    assert.equal(one.type, info.isDirectory() ? "directory" : "file");
    assert.equal(one.size, info.size);
    assert.match(one.modified, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    assert.equal(Date.parse(one.modified), Math.floor(info.mtimeMs / 1000) * 1000);
    for (const absent of ["extension", "content", "hash", "children"]) assert(!(absent in one), absent);
  }
});

check("files.list without a path is that of the root", async ({ rt }) => {
  const told = documented("FileListResponse", await rt.files.list());
  assert.equal(told.path, "/");
  assert(told.entries.length > 0);
  assert(told.entries.every((one) => one.path === `/${one.name}`), "a path that is not below /");
});

check("files.list with nested is a tree", async ({ rt, tree }) => {
  const { entries, count } = await listed(rt, plant(tree, SMALL), { nested: true });
  const drawn = (found) => found.map(({ name, children }) => (children ? [name, drawn(children)] : name));
  assert.deepEqual(drawn(entries), [
    ".hidden", "Z.JS", ["a", [["deep", [["er", ["x.rs"]]]], "inner.py"]], "a-b", "b.txt", ["empty", []],
  ]);
  assert.equal(count, FLAT.length);
});

check("files.list with nested and flatten is flat, in the tree's order", async ({ rt, tree }) => {
  const { entries, count } = await listed(rt, plant(tree, SMALL), { nested: true, flatten: true });
  assert.deepEqual(entries.map(relative(tree)), FLAT);
  assert.equal(count, FLAT.length);
});

check("files.list with light has neither size nor time", async ({ rt, tree }) => {
  const { entries } = await listed(rt, plant(tree, SMALL), { light: true });
  assert.equal(entries.length, 6);
  for (const one of entries) assert(!("size" in one) && !("modified" in one), JSON.stringify(one));
});

check("files.list with includeHash tells SHA-256", async ({ rt, tree }) => {
  const { entries } = await listed(rt, plant(tree, SMALL), { nested: true, flatten: true, includeHash: true });
  for (const one of entries) {
    const wanted = one.type === "file" ? createHash("sha256").update(fs.readFileSync(one.path)).digest("hex") : undefined;
    assert.equal(one.hash, wanted, one.path);
  }
});

check("files.list with includeContent holds text, and says why not", async ({ rt, tree }) => {
  plant(tree, { "text": "ä\r\n\"\u2028\\\n", "empty": "", "binary": Buffer.from([0, 1, 2]), "not utf-8": Buffer.from([0xe4]) });
  const { entries } = await listed(rt, tree, { includeContent: true });
  const told = Object.fromEntries(entries.map((one) => [one.name, one.content ?? `(${one.content_skipped})`]));
  assert.deepEqual(told, { "text": "ä\r\n\"\u2028\\\n", "empty": "", "binary": "(binary)", "not utf-8": "(binary)" });
});

check("files.list with maxContentBudget spends no more", async ({ rt, tree }) => {
  plant(tree, { a: "aaaa", b: "bbbb", c: "cccc" });
  const { entries } = await listed(rt, tree, { includeContent: true, maxContentBudget: 8 });
  assert.equal(entries.filter((one) => "content" in one).length, 2);
  assert.deepEqual(entries.map((one) => one.content_skipped).filter(Boolean), ["budget"]);
});

check("files.list with includeExtensions tells the extension", async ({ rt, tree }) => {
  plant(tree, { "a.py": "", "b.tar.gz": "", ".bashrc": "", "none": "" });
  const { entries } = await listed(rt, tree, { includeExtensions: true });
  const told = Object.fromEntries(entries.map((one) => [one.name, one.extension]));
  assert.deepEqual(told, { "a.py": ".py", "b.tar.gz": ".gz", ".bashrc": undefined, "none": undefined });
});

check("files.list with codeFilesOnly keeps code", async ({ rt, tree }) => {
  plant(tree, { "a.py": "", "Dockerfile": "", "photo.jpg": "", "d/b.go": "", "d/c.iso": "", "e/d.mp4": "" });
  const { entries } = await listed(rt, tree, { nested: true, flatten: true, codeFilesOnly: true });
  assert.deepEqual(entries.map(relative(tree)), ["Dockerfile", "a.py", "d/b.go"]);
});

check("files.list obeys .gitignore unless useGitignore is false", async ({ rt, tree }) => {
  plant(tree, { ".gitignore": "*.log\nbuild/\n", "a.log": "", "a.txt": "", "build/out": "", "src/b.log": "", "src/b": "" });
  execFileSync("git", ["init", "-q", tree]);
  const seen = async (options) =>
    (await listed(rt, tree, { nested: true, flatten: true, ...options })).entries.map(relative(tree));
  const kept = [".gitignore", "a.txt", "src", "src/b"];
  assert.deepEqual(await seen({}), kept);
  assert.deepEqual(await seen({ useGitignore: true }), kept);
  assert.deepEqual(await seen({ useGitignore: false }), fs.readdirSync(tree, { recursive: true }).sort(bytewise));
});

check("files.list with maxDepth says where it stopped", async ({ rt, tree }) => {
  const { entries } = await listed(rt, plant(tree, SMALL), { nested: true, maxDepth: 2 });
  const a = entries.find((one) => one.name === "a");
  const deep = a.children.find((one) => one.name === "deep");
  assert.deepEqual([deep.children, deep.depth_limited], [undefined, true]);
});

check("files.list refuses a maxDepth out of range", async ({ rt, tree }) => {
  for (const maxDepth of [0, -1, 1001, 1.5]) {
    await refused(rt.files.list({ dirPath: tree, maxDepth }), { status: 400, code: "bad_request", says: /max_depth/ });
  }
});

check("files.list with pathFilter finds in any case", async ({ rt, tree }) => {
  const { entries } = await listed(rt, plant(tree, SMALL), { nested: true, flatten: true, pathFilter: "DEEP/e" });
  assert.deepEqual(entries.map(relative(tree)), ["a/deep/er", "a/deep/er/x.rs"]);
});

check("files.list with includeExt keeps those, dot or no dot, in any case", async ({ rt, tree }) => {
  const { entries } = await listed(rt, plant(tree, SMALL), { nested: true, flatten: true, includeExt: "js, .PY" });
  assert.deepEqual(entries.map(relative(tree)), ["Z.JS", "a/inner.py"]);
});

check("files.list with ignorePatterns leaves out, with and without .gitignore", async ({ rt, tree }) => {
  plant(tree, SMALL);
  for (const useGitignore of [true, false]) {
    const options = { nested: true, flatten: true, useGitignore, ignorePatterns: "*.txt,deep/,/Z.*" };
    const { entries } = await listed(rt, tree, options);
    assert.deepEqual(entries.map(relative(tree)), [".hidden", "a", "a/inner.py", "a-b", "empty"]);
  }
});

check("files.list takes empty filters for none", async ({ rt, tree }) => {
  const none = await listed(rt, plant(tree, SMALL), {});
  assert.deepEqual(await listed(rt, tree, { pathFilter: "", includeExt: "", ignorePatterns: "" }), none);
});

check("files.list does not follow symlinks, but starts at one", async ({ rt, tree }) => {
  plant(tree, { "real/file": "x" });
  fs.symlinkSync("real", path.join(tree, "link"));
  fs.symlinkSync("/nowhere/at all", path.join(tree, "dangling"));
  const { entries } = await listed(rt, tree, { nested: true, flatten: true });
  const links = entries.filter((one) => one.type === "symlink");
  assert.deepEqual(
    links.map(({ name, size, symlink_target, children }) => [name, size, symlink_target, children]),
    [["dangling", 0, "/nowhere/at all", undefined], ["link", 0, "real", undefined]],
  );
  const through = await listed(rt, path.join(tree, "link"), {});
  assert.deepEqual(through.entries.map((one) => one.path), [path.join(tree, "link", "file")]);
});

check("files.list keeps every odd name", async ({ rt, tree }) => {
  for (const name of ODD) plant(tree, { [`${name}/${name}`]: name });
  const { entries } = await listed(rt, tree, { nested: true, flatten: true, includeContent: true });
  const files = entries.filter((one) => one.type === "file");
  assert.deepEqual(new Set(files.map((one) => one.content)), new Set(ODD));
  assert(files.every((one) => one.path === path.join(tree, one.content, one.content)));
  for (const name of ODD) {
    const inside = await listed(rt, path.join(tree, name), {});
    assert.deepEqual(inside.entries.map((one) => one.name), [name]);
  }
});

// The client has no parameter for path_b64, so that such a name can be seen with it, never taken
// for another file, and addressed only by what the entry carries.
check("files.list shows a name that is not UTF-8, with its bytes beside it", async ({ rt, tree }) => {
  const name = Buffer.from([0x66, 0xff, 0xe4]);
  const place = Buffer.concat([Buffer.from(`${tree}/`), name]);
  fs.writeFileSync(place, "bytes");
  const { entries: [entry] } = await listed(rt, tree, {});
  assert.equal(entry.name, "f\ufffd\ufffd");
  assert.deepEqual(Buffer.from(entry.path_b64, "base64url"), place);
  assert.deepEqual(await streamed(rt, tree, {}), [entry]);
});

check("files.list raises for what is not there", async ({ rt, tree }) => {
  const missing = path.join(tree, "not there");
  const call = rt.files.list({ dirPath: missing });
  await refused(call, { type: NotFoundError, status: 404, code: "not_found", says: /not there/ });
});

check("files.list raises for a file, and for a path that is not absolute", async ({ rt, tree }) => {
  plant(tree, { file: "" });
  for (const dirPath of [path.join(tree, "file"), "relative", "~", "~/x", "/nul\0"]) {
    await refused(rt.files.list({ dirPath }), { status: 400, code: "bad_request", says: /\S+ \S+/ });
  }
});

check("files.list raises for a malformed glob", async ({ rt, tree }) => {
  const call = rt.files.list({ dirPath: tree, ignorePatterns: "[z-a" });
  await refused(call, { status: 400, code: "bad_request", says: /z-a/ });
});

check("files.list raises for a wrong token", async ({ url, tree }) => {
  const call = new Runtime({ token: "wrong", baseUrl: url }).files.list({ dirPath: tree });
  await refused(call, { type: AuthenticationError, status: 401, code: "unauthorized", says: /token/ });
});

// --- stream -------------------------------------------------------------------------------------

check("files.stream tells of every entry, and of nothing else", async ({ rt, tree }) => {
  const entries = await streamed(rt, plant(tree, SMALL), {});
  assert.deepEqual(entries.map(relative(tree)).sort(), [...FLAT].sort());
  assert(entries.every((one) => !("event" in one) && !("children" in one)));
});

check("files.stream tells of some thousand entries, each once", async ({ rt, tree }) => {
  for (let at = 0; at < 60; at++) {
    plant(tree, Object.fromEntries(Array.from({ length: 80 }, (_, n) => [`d${at}/sub/f${n}-é.txt`, ""])));
  }
  const wanted = fs.readdirSync(tree, { recursive: true }).sort();
  assert.equal(wanted.length, 60 * 82);
  const runs = await Promise.all(Array.from({ length: 4 }, () => streamed(rt, tree, { light: true })));
  for (const entries of runs) assert.deepEqual(entries.map(relative(tree)).sort(), wanted);
});

check("files.stream takes the options of list", async ({ rt, tree }) => {
  plant(tree, { ...SMALL, ".gitignore": "*.log\n", "x.log": "log\n", "a/Dockerfile": "FROM scratch\n" });
  const table = [
    {}, { light: true }, { includeHash: true }, { includeContent: true }, { includeExtensions: true },
    { codeFilesOnly: true }, { useGitignore: false }, { maxDepth: 2 }, { pathFilter: "ER" },
    { includeExt: "py,rs" }, { ignorePatterns: "deep/,*.txt" }, { includeContent: true, maxContentBudget: 0 },
  ];
  const counts = new Set();
  for (const options of table) {
    const { entries } = await listed(rt, tree, { nested: true, flatten: true, ...options });
    const found = await streamed(rt, tree, { nested: false, flatten: false, ...options });
    assert.deepEqual(byPath(found), byPath(entries), JSON.stringify(options));
    assert.equal(found.length, entries.length, JSON.stringify(options));
    counts.add(found.length);
  }
  assert(counts.size > 5, "the options make no difference");
});

check("files.stream keeps every odd name and every content whole", async ({ rt, tree }) => {
  const content = "line\nbreak\r\n\u2028\"\\ \u{1f600} ä";
  plant(tree, Object.fromEntries(ODD.map((name) => [name, `${name}${content}`])));
  const entries = await streamed(rt, tree, { includeContent: true });
  assert.deepEqual(new Set(entries.map((one) => one.name)), new Set(ODD));
  for (const one of entries) assert.equal(one.content, `${one.name}${content}`);
});

check("files.stream holds an entry of several MiB", async ({ rt, tree }) => {
  const content = "0123456789äöü€\n".repeat(300_000);
  plant(tree, { big: content });
  const [entry] = await streamed(rt, tree, { includeContent: true });
  assert(entry.content === content, "the content differs");
});

check("files.stream of an empty directory is empty", async ({ rt, tree }) => {
  assert.deepEqual(await streamed(rt, tree, {}), []);
});

check("files.stream tells of a FIFO as something other", async ({ rt, tree }) => {
  execFileSync("mkfifo", [path.join(tree, "fifo")]);
  const [entry] = await all(rt.files.stream({ dirPath: tree, includeHash: true, includeContent: true }));
  assert.deepEqual([entry.name, entry.type, entry.hash, entry.content], ["fifo", "other", undefined, undefined]);
});

check("files.stream may be left early", async ({ rt, tree }) => {
  plant(tree, Object.fromEntries(Array.from({ length: 2000 }, (_, n) => [`f${n}`, "x".repeat(2000)])));
  for (let round = 0; round < 5; round++) {
    for await (const one of rt.files.stream({ dirPath: tree, includeContent: true })) {
      assert.equal(one.size, 2000);
      break;
    }
  }
  assert.equal((await streamed(rt, tree, {})).length, 2000);
});

check("files.stream raises before the first entry", async ({ rt, url, tree }) => {
  plant(tree, { file: "" });
  const first = (client, params) => client.files.stream(params).next();
  const missing = { dirPath: path.join(tree, "not there") };
  await refused(first(rt, missing), { type: NotFoundError, status: 404, code: "not_found", says: /not there/ });
  const file = { dirPath: path.join(tree, "file") };
  await refused(first(rt, file), { status: 400, code: "bad_request", says: /file/ });
  const stranger = new Runtime({ token: "wrong", baseUrl: url });
  await refused(first(stranger, { dirPath: tree }), { type: AuthenticationError, status: 401, code: "unauthorized", says: /token/ });
});
