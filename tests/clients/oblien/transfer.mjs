// `transfer.download` and `transfer.upload`, with their progress.
// Source: wire contract, section 2, "Transfer".

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { AuthenticationError, NotFoundError } from "oblien";
import { Runtime } from "oblien/runtime";
import { check, plant, refused } from "./check.mjs";
import { documented } from "./documented.mjs";

const BAD = { status: 400, code: "bad_request" };
const UNKNOWN = { type: AuthenticationError, status: 401, code: "unauthorized", says: /token/ };
const stranger = (url) => new Runtime({ token: "wrong", baseUrl: url });

const SOURCES = { "app/src/a.js": "a", "app/src/node_modules/b.js": "b", "app/package.json": "{}", "app/empty/": null };

const bytes = async (response) => Buffer.from(await response.arrayBuffer());
const names = (archive) =>
  execFileSync("tar", ["-tzf", "-"], { input: archive, encoding: "utf8" }).split("\n").filter(Boolean).sort();
const packed = (root) => execFileSync("tar", ["-czf", "-", "-C", root, "."], { maxBuffer: 1 << 28 });

/** What lies below a directory, with modes, whole seconds and contents. */
function survey(root) {
  const found = {};
  for (const name of fs.readdirSync(root, { recursive: true })) {
    const place = path.join(root, name), info = fs.lstatSync(place);
    const content = info.isSymbolicLink() ? fs.readlinkSync(place) : info.isFile() ? fs.readFileSync(place, "latin1") : null;
    found[name] = [info.mode, Math.floor(info.mtimeMs / 1000), content];
  }
  return found;
}

check("transfer.download gives a tar.gz of the paths", async ({ rt, tree }) => {
  plant(tree, SOURCES);
  const paths = [path.join(tree, "app/src"), path.join(tree, "app/package.json")];
  const response = await rt.transfer.download({ paths });
  assert.equal(response.headers.get("content-type"), "application/gzip");
  assert.deepEqual(names(await bytes(response)), ["package.json", "src/", "src/a.js", "src/node_modules/", "src/node_modules/b.js"]);
});

check("transfer.download leaves out what excludePatterns match", async ({ rt, tree }) => {
  plant(tree, SOURCES);
  const response = await rt.transfer.download({ paths: [path.join(tree, "app")], excludePatterns: ["node_modules", "*.json"] });
  assert.deepEqual(names(await bytes(response)), ["app/", "app/empty/", "app/src/", "app/src/a.js"]);
});

check("transfer.download tells its progress", async ({ rt, tree }) => {
  plant(tree, { "big": randomBytes(3_000_000) });
  const told = [];
  const response = await rt.transfer.download({ paths: [tree], onProgress: (one) => told.push(one) });
  const archive = await bytes(response);
  assert(told.length > 1, "one step is no progress");
  assert.equal(told.at(-1).loadedBytes, archive.length);
  // The whole is not known before it was sent, so that there is no share of it.
  for (const one of told) documented("TransferProgress", JSON.parse(JSON.stringify(one)));
  assert(told.every((one) => one.phase === "download"));
});

check("transfer.download refuses what is not there, before the first byte", async ({ rt, url, tree }) => {
  const missing = { type: NotFoundError, status: 404, code: "not_found", says: /nothing/ };
  await refused(rt.transfer.download({ paths: [path.join(tree, "nothing")] }), missing);
  await refused(rt.transfer.download({ paths: ["relative"] }), { ...BAD, says: /relative/ });
  await refused(stranger(url).transfer.download({ paths: [tree] }), UNKNOWN);
});

check("transfer.upload unpacks a buffer", async ({ rt, tree }) => {
  const from = plant(path.join(tree, "from"), SOURCES), dest = path.join(tree, "to/there");
  fs.chmodSync(path.join(from, "app/package.json"), 0o751);
  fs.symlinkSync("a.js", path.join(from, "app/src/link"));
  const told = documented("TransferUploadResponse", await rt.transfer.upload({ body: packed(from), dest }));
  assert.deepEqual([told.success, told.dest, told.files_extracted], [true, dest, 4]);
  assert.deepEqual(survey(dest), survey(from));
});

check("transfer.upload takes a stream and tells its progress", async ({ rt, tree }) => {
  const from = plant(path.join(tree, "from"), { "big": randomBytes(2_000_000) });
  const archive = packed(from), dest = path.join(tree, "to"), told = [];
  const body = new ReadableStream({
    start(controller) {
      for (let at = 0; at < archive.length; at += 100_000) controller.enqueue(new Uint8Array(archive.subarray(at, at + 100_000)));
      controller.close();
    },
  });
  const onProgress = (one) => told.push(documented("TransferProgress", one));
  const answer = await rt.transfer.upload({ body, dest, totalBytes: archive.length, onProgress });
  assert.equal(answer.files_extracted, 1);
  assert(told.every((one) => one.phase === "upload"));
  assert.deepEqual([told.at(-1).loadedBytes, told.at(-1).percent], [archive.length, 100]);
  assert.deepEqual(survey(dest), survey(from));
});

check("transfer.upload takes a Blob, with progress", async ({ rt, tree }) => {
  const from = plant(path.join(tree, "from"), SOURCES), archive = packed(from), told = [];
  const dest = path.join(tree, "to");
  await rt.transfer.upload({ body: new Blob([archive]), dest, onProgress: (one) => told.push(one) });
  assert.equal(told.at(-1).totalBytes, archive.length);
  assert.deepEqual(survey(dest), survey(from));
});

check("transfer.upload takes what transfer.download gave", async ({ rt, tree }) => {
  const from = plant(path.join(tree, "app"), { ...SOURCES, "é/ü": "x" }), dest = path.join(tree, "copy");
  const archive = await bytes(await rt.transfer.download({ paths: [from] }));
  await rt.transfer.upload({ body: archive, dest });
  assert.deepEqual(survey(path.join(dest, "app")), survey(from));
});

check("transfer.upload refuses what is no archive, and one that would leave", async ({ rt, url, tree }) => {
  await refused(rt.transfer.upload({ body: Buffer.from("text"), dest: tree }), { ...BAD, says: /gzip/ });
  await refused(rt.transfer.upload({ body: Buffer.alloc(0), dest: tree }), { ...BAD, says: /empty/ });
  plant(tree, { "a/b": "x" });
  const up = execFileSync("tar", ["-P", "-czf", "-", "-C", path.join(tree, "a"), "../a/b"], { stdio: ["ignore", "pipe", "ignore"] });
  await refused(rt.transfer.upload({ body: up, dest: path.join(tree, "dest") }), { ...BAD, says: /leave/ });
  await refused(stranger(url).transfer.upload({ body: packed(tree), dest: tree }), UNKNOWN);
});
