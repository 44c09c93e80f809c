// `search.content`, `files`, `status` and `init`.
// Source: wire contract, section 3; reference, "Search".

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import path from "node:path";
import { AuthenticationError, NotFoundError } from "oblien";
import { Runtime } from "oblien/runtime";
import { check, plant, refused } from "./check.mjs";
import { documented } from "./documented.mjs";

const BAD = { status: 400, code: "bad_request" };
const MISSING = { type: NotFoundError, status: 404, code: "not_found" };
const UNKNOWN = { type: AuthenticationError, status: 401, code: "unauthorized", says: /token/ };
const stranger = (url) => new Runtime({ token: "wrong", baseUrl: url });

async function content(rt, options) {
  const told = documented("ContentSearchResponse", await rt.search.content(options));
  assert.deepEqual([told.success, told.query, told.path], [true, options.query, options.path]);
  assert.equal(told.total_matches, Object.values(told.results).flat().length);
  assert.equal(told.total_files, Object.keys(told.results).length);
  return told;
}

const SOURCES = {
  "src/server.go": "package a\n\nfunc handleRequest() {\n\thandleRequest()\n}\n",
  "src/router.py": "x = handleRequest\n",
  "README": "HandleRequests\n",
  ".hidden": "handleRequest\n",
  ".gitignore": "build/\n",
  "build/out.go": "handleRequest\n",
};

check("search.content groups matches by file", async ({ rt, tree }) => {
  const told = await content(rt, { query: "handleRequest", path: plant(tree, SOURCES) });
  assert.deepEqual(Object.keys(told.results), ["README", "src/router.py", "src/server.go"]);
  assert.deepEqual(told.results["src/server.go"], [
    { line: 3, column: 6, text: "func handleRequest() {" },
    { line: 4, column: 2, text: "\thandleRequest()" },
  ]);
  assert.equal(told.capped, false);
});

check("search.content takes every option", async ({ rt, tree }) => {
  plant(tree, SOURCES);
  for (const [options, files] of [
    [{ caseSensitive: true }, ["src/router.py", "src/server.go"]],
    [{ wholeWord: true }, ["src/router.py", "src/server.go"]],
    [{ query: "^func\\s+h", regex: true }, ["src/server.go"]],
    [{ fileTypes: "go,.PY" }, ["src/router.py", "src/server.go"]],
    [{ includeHidden: true }, [".hidden", "README", "src/router.py", "src/server.go"]],
    [{ noGitignore: true }, ["README", "build/out.go", "src/router.py", "src/server.go"]],
    [{ ignorePatterns: "*.py, README" }, ["src/server.go"]],
    [{ query: "nothing of the kind", timeout: 60 }, []],
  ]) {
    const told = await content(rt, { query: "handleRequest", path: tree, ...options });
    assert.deepEqual(Object.keys(told.results), files, JSON.stringify(options));
  }
});

check("search.content gives context, and the flat list of the command line", async ({ rt, tree }) => {
  plant(tree, SOURCES);
  const told = await content(rt, { query: "func", path: tree, contextLines: 2, fileTypes: "go" });
  const [one] = told.results["src/server.go"];
  assert.deepEqual([one.before, one.after], [["package a", ""], ["\thandleRequest()", "}"]]);
  assert.deepEqual(told.matches, [
    { path: "src/server.go", line_number: 3, text: "func handleRequest() {" },
  ]);
});

check("search.content caps where it is told to", async ({ rt, tree }) => {
  const told = await content(rt, { query: "request", path: plant(tree, SOURCES), maxResults: 2 });
  assert.deepEqual([told.total_matches, told.capped], [2, true]);
});

check("search.content searches one file", async ({ rt, tree }) => {
  const file = path.join(plant(tree, SOURCES), "src/router.py");
  const told = await content(rt, { query: "handle", path: file });
  assert.deepEqual([Object.keys(told.results), told.base], [["router.py"], path.dirname(file)]);
});

check("search.content refuses what cannot be", async ({ rt, url, tree }) => {
  await refused(rt.search.content({ path: tree }), { ...BAD, says: /q/ });
  await refused(rt.search.content({ query: "x".repeat(1001), path: tree }), { ...BAD, says: /q.*1001/ });
  await refused(rt.search.content({ query: "(", regex: true, path: tree }), { ...BAD, says: /unclosed/ });
  await refused(rt.search.content({ query: "x", contextLines: 11, path: tree }), { ...BAD, says: /context_lines/ });
  await refused(rt.search.content({ query: "x", timeout: 61, path: tree }), { ...BAD, says: /timeout/ });
  await refused(rt.search.content({ query: "x", path: path.join(tree, "none") }), { ...MISSING, says: /none/ });
  await refused(stranger(url).search.content({ query: "x", path: tree }), UNKNOWN);
});

async function files(rt, options) {
  const told = documented("FileSearchResponse", await rt.search.files(options));
  assert.deepEqual([told.success, told.query, told.path], [true, options.query, options.path]);
  return told;
}

check("search.files finds by name, the best first", async ({ rt, tree }) => {
  plant(tree, { "user/controller.go": "", "auth/controller.go": "", "controller/x": "", ".a/controller": "" });
  const told = await files(rt, { query: "CONTROLLER", path: tree });
  const wanted = ["auth/controller.go", "user/controller.go", "controller/x"];
  assert.deepEqual([told.files, told.total_files, told.capped], [wanted, 3, false]);
  const one = await files(rt, { query: "controller", path: tree, maxResults: 1 });
  assert.deepEqual([one.files, one.capped], [wanted.slice(0, 1), true]);
});

check("search.files takes every option", async ({ rt, tree }) => {
  plant(tree, { "Name.c": "", "name.h": "", ".name": "" });
  for (const [options, wanted] of [
    [{ caseSensitive: true }, ["Name.c"]],
    [{ includeHidden: true }, [".name", "Name.c", "name.h"]],
    [{ ignorePatterns: "*.h" }, ["Name.c"]],
  ]) {
    const told = await files(rt, { query: "Name", path: tree, ...options });
    assert.deepEqual(told.files, wanted, JSON.stringify(options));
  }
});

check("search.files refuses what cannot be", async ({ rt, url, tree }) => {
  plant(tree, { file: "" });
  await refused(rt.search.files({ path: tree }), { ...BAD, says: /q/ });
  await refused(rt.search.files({ query: "x", path: path.join(tree, "file") }), { ...BAD, says: /file/ });
  await refused(rt.search.files({ query: "x", path: path.join(tree, "none") }), { ...MISSING, says: /none/ });
  await refused(stranger(url).search.files({ query: "x", path: tree }), UNKNOWN);
});

function installed(told) {
  const [version] = execFileSync(told.path, ["--version"], { encoding: "utf8" }).split(/ \(|\n/);
  assert.deepEqual([told.success, told.installed, told.version], [true, true, version]);
}

check("search.status tells which ripgrep there is", async ({ rt, url }) => {
  installed(documented("SearchStatusResponse", await rt.search.status()));
  await refused(stranger(url).search.status(), UNKNOWN);
});

check("search.init gives back one that is there already", async ({ rt, url }) => {
  installed(documented("SearchInitResponse", await rt.search.init()));
  await refused(stranger(url).search.init(), UNKNOWN);
});
