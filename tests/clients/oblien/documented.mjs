// Answers held to the types that the package documents.
//
// Belongs here: reading the interfaces of the package's own declarations, and comparing.
// Banned here: types written by hand. Understood is what those interfaces use: primitives, null,
// literals, unions, arrays, `Record<string, T>`, and each other; anything else throws.

import assert from "node:assert/strict";
import fs from "node:fs";

const DECLARATIONS = [
  "types/runtime.d.ts",
  "runtime/desktop.d.ts",
  "types/workspace.d.ts",
  "types/workspace-resources.d.ts",
];
const interfaces = new Map();

for (const name of DECLARATIONS) {
  const text = fs.readFileSync(new URL(`node_modules/oblien/dist/${name}`, import.meta.url), "utf8");
  for (const [, title, body] of text.matchAll(/^export interface (\w+) \{\n(.*?)^\}/gms)) {
    const fields = [...body.matchAll(/^ {4}(\w+)(\??): (.+);$/gm)];
    interfaces.set(title, fields.map(([, field, mark, type]) => ({ field, type, optional: mark === "?" })));
  }
}

/** Fails unless `value` has every field of the interface, each of its type. Gives it back. */
export function documented(title, value, where = title) {
  const fields = interfaces.get(title);
  assert(fields, `the package declares no ${title}`);
  assert.equal(typeof value, "object", where);
  for (const { field, type, optional } of fields) {
    if (optional && !(field in value)) continue;
    assert(field in value, `${where}.${field} is missing`);
    fits(type, value[field], `${where}.${field}`);
  }
  return value;
}

function whyNot(type, value, where) {
  try {
    fits(type, value, where);
    return null;
  } catch (error) {
    return error.message;
  }
}

function fits(type, value, where) {
  const literals = type.match(/^\(?('\w+'(?: \| '\w+')*)\)?$/);
  const array = type.match(/^(.+)\[\]$/);
  const record = type.match(/^Record<string, (.+)>$/);
  if (["string", "number", "boolean"].includes(type)) {
    assert.equal(typeof value, type, where);
  } else if (literals) {
    assert(literals[1].includes(`'${value}'`), `${where} is ${value}, not one of ${type}`);
  } else if (type === "null") {
    assert.equal(value, null, where);
  } else if (type === "unknown") {
    return;
  } else if (type.includes(" | ")) {
    const whys = type.split(" | ").map((one) => whyNot(one, value, where));
    assert(whys.includes(null), whys.join("; "));
  } else if (array) {
    assert(Array.isArray(value), `${where} is no array`);
    value.forEach((one, index) => fits(array[1], one, `${where}[${index}]`));
  } else if (record) {
    Object.entries(value).forEach(([key, one]) => fits(record[1], one, `${where}.${key}`));
  } else {
    documented(type, value, where);
  }
}
