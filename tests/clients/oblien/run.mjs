// Runs the checks of one file: `node run.mjs FILE`, with URL, TOKEN, TREE and OWN_PORT in the
// environment.
//
// TREE is an empty local directory that the server sees too; each check gets one of its own in it.
// OWN_PORT is where the server itself listens, whatever stands in front of it. Prints one line of
// JSON a check: `{"check", "ok"}`, and `"error"` where it is not ok.

import fs from "node:fs";
import path from "node:path";
import { Runtime } from "oblien/runtime";
import { checks } from "./check.mjs";

const CHECK_SECONDS = 30;

async function outcome(run, given) {
  try {
    await run(given);
    return { ok: true };
  } catch (error) {
    const cause = error.cause ? `\ncaused by ${error.cause.stack ?? error.cause}` : "";
    return { ok: false, error: `${error.stack}${cause}` };
  }
}

// A check that does not end ends the run: those after it would wait as long.
function watch(name) {
  return setTimeout(() => {
    console.error(`no end of "${name}" within ${CHECK_SECONDS} s`);
    process.exit(1);
  }, CHECK_SECONDS * 1000);
}

const { URL: url, TOKEN: token, TREE: place, OWN_PORT: ownPort } = process.env;
await import(`./${process.argv[2]}`);
for (const [index, [name, run]] of [...checks].entries()) {
  const tree = path.join(place, String(index));
  fs.mkdirSync(tree);
  const given = { rt: new Runtime({ token, baseUrl: url }), tree, url, token, ownPort };
  const watchdog = watch(name);
  console.log(JSON.stringify({ check: name, ...(await outcome(run, given)) }));
  clearTimeout(watchdog);
}
// What a check left open, a body that it did not read to its end, must not hold the process.
process.exit(0);
