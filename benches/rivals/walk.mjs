// A rival: fs.readdirSync, lstatSync and JSON.stringify, one JSON line an entry to standard output.
//
//   node walk.mjs ROOT
import { closeSync, lstatSync, readdirSync, writeSync } from "node:fs";

const FLUSH = 256 * 1024;
const waiting = [process.argv[2]];
let held = "";

function flush() {
  let bytes = Buffer.from(held);
  while (bytes.length > 0) bytes = bytes.subarray(writeSync(1, bytes));
  held = "";
}

function kind(entry) {
  if (entry.isDirectory()) return "directory";
  if (entry.isFile()) return "file";
  return entry.isSymbolicLink() ? "symlink" : "other";
}

while (waiting.length > 0) {
  const directory = waiting.pop();
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = `${directory}/${entry.name}`;
    const about = lstatSync(path);
    held += `${JSON.stringify({
      name: entry.name, path, type: kind(entry), size: about.size, modified: about.mtime,
    })}\n`;
    if (entry.isDirectory()) waiting.push(path);
    if (held.length > FLUSH) flush();
  }
}
flush();
closeSync(1);
