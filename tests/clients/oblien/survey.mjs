// Prints what there is: `{"checks": {file: [name]}, "methods": ["files.list", ...]}`.
//
// The methods are those of the package's runtime client, found by looking at it, so that one
// without a check is noticed. What its declarations call private does not count.

import fs from "node:fs";
import { Runtime } from "oblien/runtime";
import { checks } from "./check.mjs";

const dist = new URL("node_modules/oblien/dist/", import.meta.url);
const rt = new Runtime({ token: "none", baseUrl: "http://127.0.0.1:1" });
const rooms = Object.entries(rt).filter(([name]) => !name.startsWith("_"));
const handles = [["runtime", rt], ["ws", rt.ws({})], ["proxy", rt.proxy(1)]];

function methods(room, object) {
  const file = room === "runtime" ? "runtime.d.ts" : `runtime/${room}.d.ts`;
  const declared = fs.readFileSync(new URL(file, dist), "utf8");
  return Object.getOwnPropertyNames(Object.getPrototypeOf(object))
    .filter((name) => name !== "constructor" && new RegExp(`^ {4}${name}[(<]`, "m").test(declared))
    .map((name) => `${room}.${name}`);
}

const found = {};
for (const file of process.argv.slice(2)) {
  const before = new Set(checks.keys());
  await import(`./${file}`);
  found[file] = [...checks.keys()].filter((name) => !before.has(name));
}
const every = [...handles, ...rooms].flatMap(([room, object]) => methods(room, object));
console.log(JSON.stringify({ checks: found, methods: every }));
