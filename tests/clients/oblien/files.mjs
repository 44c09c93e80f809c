// `files.read`, `write`, `mkdir`, `stat` and `delete`.
// Source: wire contract, section 2, from "Read" to "Delete". Oracle: `node:fs`.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { AuthenticationError, NotFoundError } from "oblien";
import { Runtime } from "oblien/runtime";
import { check, plant, refused } from "./check.mjs";
import { documented } from "./documented.mjs";

const BAD = { status: 400, code: "bad_request" };
const MISSING = { type: NotFoundError, status: 404, code: "not_found" };
const mode = (place) => (fs.lstatSync(place).mode & 0o7777).toString(8).padStart(4, "0");
const stranger = (url) => new Runtime({ token: "wrong", baseUrl: url });
const UNKNOWN = { type: AuthenticationError, status: 401, code: "unauthorized", says: /token/ };

// --- read ---------------------------------------------------------------------------------------

async function read(rt, tree, options) {
  const filePath = path.join(tree, "file.go");
  const told = documented("FileReadResponse", await rt.files.read({ filePath, ...options }));
  assert.deepEqual([told.success, told.path, told.extension], [true, filePath, ".go"]);
  assert.equal(told.size, fs.statSync(filePath).size);
  return told;
}

check("files.read gives a whole file", async ({ rt, tree }) => {
  for (const [content, lines] of [
    ["", 0], ["one", 1], ["one\n", 1], ["one\ntwo", 2], ["\n\n", 2], ["a\r\nb\r\n", 2],
    ["\ufeffä€😀\u2028\"\\\u0001\n", 1],
  ]) {
    const told = await read(rt, plant(tree, { "file.go": content }));
    assert.deepEqual([told.content, told.lines], [content, lines]);
    assert(!("start_line" in told) && !("end_line" in told), "no range was asked for");
  }
});

check("files.read gives a range of lines", async ({ rt, tree }) => {
  plant(tree, { "file.go": "a\nb\r\nc\nd" });
  for (const [options, content, lines, start, end] of [
    [{ startLine: 2, endLine: 3 }, "b\r\nc\n", 2, 2, 3],
    [{ startLine: 3 }, "c\nd", 2, 3, 4],
    [{ endLine: 1 }, "a\n", 1, 1, 1],
    [{ startLine: 1, endLine: 99 }, "a\nb\r\nc\nd", 4, 1, 99],
    [{ startLine: 9, endLine: 9 }, "", 0, 9, 9],
  ]) {
    const told = await read(rt, tree, options);
    assert.deepEqual([told.content, told.lines, told.start_line, told.end_line], [content, lines, start, end]);
  }
});

check("files.read numbers lines as cat -n does", async ({ rt, tree }) => {
  plant(tree, { "file.go": "a\n\nc" });
  const all = execFileSync("cat", ["-n", path.join(tree, "file.go")], { encoding: "utf8" });
  assert.equal((await read(rt, tree, { withLineNumbers: true })).content, all);
  const part = await read(rt, tree, { withLineNumbers: true, startLine: 2 });
  assert.equal(part.content, "     2\t\n     3\tc");
});

check("files.read refuses a range that is none", async ({ rt, tree }) => {
  const filePath = path.join(plant(tree, { "file.go": "a\nb\n" }), "file.go");
  for (const [options, says] of [
    [{ startLine: 2, endLine: 1 }, /end_line/], [{ endLine: 0 }, /end_line/], [{ startLine: 0 }, /start_line/],
    [{ startLine: 1.5 }, /start_line/],
  ]) {
    await refused(rt.files.read({ filePath, ...options }), { ...BAD, says });
  }
});

check("files.read shows bytes that are not UTF-8, and refuses a binary file", async ({ rt, tree }) => {
  plant(tree, { "file.go": Buffer.from([0x61, 0xff, 0x0a]), binary: Buffer.from([0x61, 0, 0x0a]) });
  const told = await read(rt, tree);
  assert.deepEqual([told.content, told.lossy], ["a\ufffd\n", true]);
  const binary = rt.files.read({ filePath: path.join(tree, "binary") });
  await refused(binary, { ...BAD, says: /encoding=base64.*\/files\/raw/ });
});

check("files.read raises for what is no file", async ({ rt, url, tree }) => {
  execFileSync("mkfifo", [path.join(tree, "fifo")]);
  await refused(rt.files.read({ filePath: tree }), { ...BAD, says: /directory/ });
  await refused(rt.files.read({ filePath: path.join(tree, "fifo") }), { ...BAD, says: /fifo/ });
  await refused(rt.files.read({ filePath: path.join(tree, "none") }), { ...MISSING, says: /none/ });
  await refused(rt.files.read({ filePath: "relative" }), { ...BAD, says: /relative/ });
  await refused(rt.files.read({}), { ...BAD, says: /path/ });
  await refused(stranger(url).files.read({ filePath: tree }), UNKNOWN);
});

check("files.read takes no other file for one whose name is not UTF-8", async ({ rt, tree }) => {
  fs.writeFileSync(Buffer.concat([Buffer.from(`${tree}/`), Buffer.from([0xff])]), "bytes");
  const shown = path.join(tree, "\ufffd");
  await refused(rt.files.read({ filePath: shown }), { ...MISSING, says: /\ufffd/ });
});

// --- write --------------------------------------------------------------------------------------

async function write(rt, fullPath, content, options) {
  const told = documented("FileWriteResponse", await rt.files.write({ fullPath, content, ...options }));
  assert.deepEqual([told.success, told.path], [true, fullPath]);
  assert.equal(told.size, fs.statSync(fullPath).size);
  return fs.readFileSync(fullPath, "utf8");
}

check("files.write makes a file and replaces it", async ({ rt, tree }) => {
  const place = path.join(tree, "späß + 100%.txt");
  for (const content of ["first\n", "ä€😀\u2028\r\n\u0001\"\\", "", "0123456789äöü€\n".repeat(300_000)]) {
    assert(await write(rt, place, content) === content, "the content differs");
    assert.equal(mode(place), "0644");
    assert.deepEqual(fs.readdirSync(tree), [path.basename(place)]);
  }
  const told = await rt.files.read({ filePath: place });
  assert.equal(told.lines, 300_000);
});

check("files.write appends", async ({ rt, tree }) => {
  const place = path.join(tree, "log");
  assert.equal(await write(rt, place, "one\n", { append: true }), "one\n");
  assert.equal(await write(rt, place, "two\n", { append: true }), "one\ntwo\n");
  assert.equal(await write(rt, place, "three\n", { append: false }), "three\n");
});

check("files.write makes parents only when told", async ({ rt, tree }) => {
  const place = path.join(tree, "a/b/c");
  const missing = rt.files.write({ fullPath: place, content: "x" });
  await refused(missing, { ...MISSING, says: /create_dirs|a\/b/ });
  assert.deepEqual(fs.readdirSync(tree), []);
  assert.equal(await write(rt, place, "x", { createDirs: true }), "x");
  assert.equal(await write(rt, path.join(tree, "a/d/log"), "y", { createDirs: true, append: true }), "y");
});

check("files.write sets the mode, and keeps the one that is there", async ({ rt, tree }) => {
  const place = path.join(tree, "script");
  await write(rt, place, "#!/bin/sh\n", { mode: "0755" });
  assert.equal(mode(place), "0755");
  await write(rt, place, "#!/bin/sh\nexit\n");
  assert.equal(mode(place), "0755");
  await write(rt, place, "", { mode: "600" });
  assert.equal(mode(place), "0600");
});

check("files.write goes through a symlink", async ({ rt, tree }) => {
  plant(tree, { real: "old" });
  fs.symlinkSync("real", path.join(tree, "link"));
  assert.equal(await write(rt, path.join(tree, "link"), "new"), "new");
  assert.equal(fs.readlinkSync(path.join(tree, "link")), "real");
  assert.equal(fs.readFileSync(path.join(tree, "real"), "utf8"), "new");
});

check("files.write refuses what cannot be, and changes nothing", async ({ rt, url, tree }) => {
  plant(tree, { file: "old", "dir/": null });
  const fullPath = path.join(tree, "file");
  const content = "new";
  await refused(rt.files.write({ fullPath: path.join(tree, "dir"), content }), { ...BAD, says: /dir/ });
  await refused(rt.files.write({ fullPath: path.join(fullPath, "below"), content }), { ...BAD, says: /below|file/ });
  await refused(rt.files.write({ fullPath: "relative", content }), { ...BAD, says: /relative/ });
  await refused(rt.files.write({ content }), { ...BAD, says: /path/ });
  await refused(rt.files.write({ fullPath }), { ...BAD, says: /content/ });
  await refused(rt.files.write({ fullPath, content: 7 }), { ...BAD, says: /content/ });
  await refused(rt.files.write({ fullPath, content, append: "perhaps" }), { ...BAD, says: /append/ });
  await refused(rt.files.write({ fullPath, content, mode: "0799" }), { ...BAD, says: /mode/ });
  await refused(stranger(url).files.write({ fullPath, content }), UNKNOWN);
  assert.equal(fs.readFileSync(fullPath, "utf8"), "old");
  assert.deepEqual(fs.readdirSync(tree).sort(), ["dir", "file"]);
});

// --- mkdir --------------------------------------------------------------------------------------

check("files.mkdir makes a directory with its parents, twice as once", async ({ rt, tree }) => {
  const place = path.join(tree, "a b/ö/c");
  for (let round = 0; round < 2; round++) {
    const told = await rt.files.mkdir({ path: place });
    assert.deepEqual([told.success, told.path], [true, place]);
    assert(fs.statSync(place).isDirectory());
    assert.equal(mode(place), "0755");
  }
});

check("files.mkdir sets the mode", async ({ rt, tree }) => {
  const place = path.join(tree, "private");
  await rt.files.mkdir({ path: place, mode: "0700" });
  assert.equal(mode(place), "0700");
});

check("files.mkdir refuses a file in the way", async ({ rt, url, tree }) => {
  const place = path.join(plant(tree, { file: "x" }), "file");
  await refused(rt.files.mkdir({ path: place }), { ...BAD, says: /file/ });
  await refused(rt.files.mkdir({ path: path.join(place, "below") }), { ...BAD, says: /file/ });
  await refused(rt.files.mkdir({ path: path.join(tree, "d"), mode: "rwx" }), { ...BAD, says: /mode/ });
  await refused(rt.files.mkdir({}), { ...BAD, says: /path/ });
  await refused(stranger(url).files.mkdir({ path: path.join(tree, "e") }), UNKNOWN);
  assert.deepEqual(fs.readdirSync(tree), ["file"]);
});

// --- stat ---------------------------------------------------------------------------------------

async function stat(rt, place, wanted) {
  const told = documented("FileStatResponse", await rt.files.stat({ path: place }));
  const info = fs.lstatSync(place);
  assert.equal(Date.parse(told.modified), Math.floor(info.mtimeMs / 1000) * 1000);
  assert.equal(told.permissions, mode(place));
  const common = { success: true, path: place, name: path.basename(place) };
  for (const [field, value] of Object.entries({ ...common, ...wanted })) assert.equal(told[field], value, field);
}

check("files.stat tells of a file", async ({ rt, tree }) => {
  plant(tree, { "ä &.py": "print()\n", photo: "" });
  await stat(rt, path.join(tree, "ä &.py"), { type: "file", size: 8, is_code: true, extension: ".py" });
  fs.chmodSync(path.join(tree, "photo"), 0o4751);
  await stat(rt, path.join(tree, "photo"), { type: "file", size: 0, is_code: false, extension: undefined });
});

check("files.stat tells of a directory", async ({ rt, tree }) => {
  const place = path.join(plant(tree, { "dir/": null }), "dir");
  fs.chmodSync(place, 0o1777);
  await stat(rt, place, { type: "directory", is_code: false });
});

check("files.stat tells of a symlink itself", async ({ rt, tree }) => {
  for (const target of ["/nowhere/at all", "file.py"]) {
    const place = path.join(tree, `to ${target.length}`);
    fs.symlinkSync(target, place);
    await stat(rt, place, { type: "symlink", size: 0, is_code: false, symlink_target: target });
  }
});

check("files.stat raises for what is not there", async ({ rt, url, tree }) => {
  await refused(rt.files.stat({ path: path.join(tree, "none") }), { ...MISSING, says: /none/ });
  await refused(rt.files.stat({}), { ...BAD, says: /path/ });
  await refused(stranger(url).files.stat({ path: tree }), UNKNOWN);
});

// --- delete -------------------------------------------------------------------------------------

async function remove(rt, place) {
  const told = await rt.files.delete({ path: place });
  assert.deepEqual([told.success, told.path], [true, place]);
  assert(!fs.lstatSync(place, { throwIfNoEntry: false }), `${place} is still there`);
}

check("files.delete removes a file, and a directory with all in it", async ({ rt, tree }) => {
  plant(tree, { "späß + 1": "", "dir/a/b/c": "", "dir/d": "", "kept": "" });
  await remove(rt, path.join(tree, "späß + 1"));
  await remove(rt, path.join(tree, "dir"));
  assert.deepEqual(fs.readdirSync(tree), ["kept"]);
});

check("files.delete removes a symlink, never what it points at", async ({ rt, tree }) => {
  plant(tree, { "real/file": "x", "dir/": null });
  fs.symlinkSync("real", path.join(tree, "link"));
  fs.symlinkSync("../real", path.join(tree, "dir/inner"));
  await remove(rt, path.join(tree, "link"));
  await remove(rt, path.join(tree, "dir"));
  assert.deepEqual(fs.readdirSync(tree, { recursive: true }).sort(), ["real", "real/file"]);
});

check("files.delete raises for what is not there", async ({ rt, url, tree }) => {
  plant(tree, { file: "" });
  await refused(rt.files.delete({ path: path.join(tree, "none") }), { ...MISSING, says: /none/ });
  await refused(rt.files.delete({ path: "relative" }), { ...BAD, says: /relative/ });
  await refused(rt.files.delete({}), { ...BAD, says: /path/ });
  await refused(stranger(url).files.delete({ path: path.join(tree, "file") }), UNKNOWN);
  assert.deepEqual(fs.readdirSync(tree), ["file"]);
});

// Only /proc, out of which the kernel itself lets nobody remove anything.
check("files.delete refuses a protected path, however it is spelled", async ({ rt, tree }) => {
  fs.symlinkSync("/", path.join(tree, "root"));
  for (const place of ["/proc", "//proc/", "/proc/.", "/nowhere/../proc", path.join(tree, "root/proc")]) {
    await refused(rt.files.delete({ path: place }), { status: 403, code: "forbidden", says: /proc/ });
  }
  assert(fs.existsSync("/proc/self"));
});
