// Checks: what they are called, what they are given, and words that several of them need.
//
// Belongs here: the list of checks and how one is registered. Banned here: any one method of
// the package. A check's name begins with the method that it is about, `files.read`, so that a
// failure names it; `check("...` begins its line, because the tests are collected by reading it.

import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { OblienError } from "oblien";

/** Name to function, in the order of the files. */
export const checks = new Map();

/**
 * Registers a check. `run` gets `{ rt, tree, url, token, ownPort }`: the package's client of the
 * server, an empty local directory that the server sees too, what the client was made of, and the
 * port where the server itself listens.
 */
export function check(name, run) {
  assert(!checks.has(name), `two checks are called ${name}`);
  checks.set(name, run);
}

/** Files from `{"a/b.txt": "content", "dir/": null}`; parents are made. Gives `root` back. */
export function plant(root, files) {
  for (const [name, content] of Object.entries(files)) {
    const place = path.join(root, name);
    fs.mkdirSync(content === null ? place : path.dirname(place), { recursive: true });
    if (content !== null) fs.writeFileSync(place, content);
  }
  return root;
}

/** Every entry of an async iterator. */
export async function all(stream) {
  const found = [];
  for await (const one of stream) found.push(one);
  return found;
}

/**
 * Holds a refused call to what the package makes of an error: the class, status and code that
 * are wanted, a sentence that matches, and the id under which the server's log has it.
 */
export async function refused(call, { type = OblienError, status, code, says }) {
  await assert.rejects(call, (error) => {
    assert.equal(error.constructor, type, `${error.stack}`);
    assert.equal(error.status, status);
    assert.equal(error.code, code);
    assert.match(error.message, says);
    assert.match(error.requestId, /^\S+$/);
    return true;
  });
}
