// `watcher.create`, `list`, `get` and `delete`. What watchers tell is the matter of the socket.
// Source: wire contract, section 6. Oracle: `fs.readdirSync`.

import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { ConflictError, NotFoundError } from "oblien";
import { check, refused } from "./check.mjs";
import { documented } from "./documented.mjs";

/** Directories of a tree, itself included. */
function directories(tree) {
  const found = fs.readdirSync(tree, { recursive: true, withFileTypes: true });
  return 1 + found.filter((one) => one.isDirectory()).length;
}

/** Runs `work` with a watcher that is there no longer afterwards. */
async function watching(rt, params, work) {
  const watcher = documented("WatcherInfo", await rt.watcher.create(params));
  try {
    await work(watcher);
  } finally {
    await rt.watcher.delete(watcher.id);
  }
}

check("watcher.create watches the whole tree", async ({ rt, tree }) => {
  fs.mkdirSync(path.join(tree, "a/b/c"), { recursive: true });
  fs.writeFileSync(path.join(tree, "a/file"), "");
  await watching(rt, { path: tree }, (watcher) => {
    assert.deepEqual([watcher.root, watcher.dir_count, watcher.active], [tree, directories(tree), true]);
    assert(watcher.excludes.includes("node_modules") && watcher.excludes.includes("*~"));
  });
});

check("watcher.create takes its other names, and leaves out what is excluded", async ({ rt, tree }) => {
  for (const name of ["a", "tmp", "node_modules", "b/tmp"]) fs.mkdirSync(path.join(tree, name), { recursive: true });
  for (const params of [{ path: tree, excludes: ["tmp"] }, { root: tree, exclude: ["tmp"] }]) {
    await watching(rt, params, (watcher) => {
      assert.deepEqual([watcher.dir_count, watcher.excludes.at(-1)], [3, "tmp"]);
    });
  }
});

check("watcher.create raises for what cannot be watched", async ({ rt, tree }) => {
  const missing = path.join(tree, "nothing");
  await refused(rt.watcher.create({ path: missing }), { type: NotFoundError, status: 404, code: "not_found", says: /nothing/ });
  const file = path.join(tree, "file");
  fs.writeFileSync(file, "");
  await refused(rt.watcher.create({ path: file }), { status: 400, code: "bad_request", says: /not a directory/ });
  await refused(rt.watcher.create({}), { status: 400, code: "bad_request", says: /path: missing/ });
});

check("watcher.create raises for the sixth", async ({ rt, tree }) => {
  const made = [];
  try {
    for (let number = 0; number < 5; number += 1) made.push(await rt.watcher.create({ path: tree }));
    const full = { type: ConflictError, status: 409, code: "conflict", says: /5 watchers/ };
    await refused(rt.watcher.create({ path: tree }), full);
  } finally {
    for (const one of made) await rt.watcher.delete(one.id);
  }
});

check("watcher.list tells what watcher.get tells of each", async ({ rt, tree }) => {
  assert.deepEqual(await rt.watcher.list(), []);
  await watching(rt, { path: tree }, async (first) => {
    await watching(rt, { path: tree }, async (second) => {
      const list = await rt.watcher.list();
      assert.deepEqual(list.map((one) => one.id), [first.id, second.id]);
      for (const one of list) assert.deepEqual(documented("WatcherInfo", one), await rt.watcher.get(one.id));
    });
  });
});

check("watcher.get raises for one that is not there", async ({ rt }) => {
  await refused(rt.watcher.get("nobody"), { type: NotFoundError, status: 404, code: "not_found", says: /nobody/ });
});

check("watcher.delete ends a watcher, once", async ({ rt, tree }) => {
  const { id } = await rt.watcher.create({ path: tree });
  assert.deepEqual(await rt.watcher.delete(id), { success: true });
  const gone = { type: NotFoundError, status: 404, code: "not_found", says: /no such watcher/ };
  await refused(rt.watcher.delete(id), gone);
  await refused(rt.watcher.get(id), gone);
});
