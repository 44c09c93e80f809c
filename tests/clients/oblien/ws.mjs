// `rt.ws()` and every method of what it gives. Source: wire contract, section 7.

import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { Runtime } from "oblien/runtime";
import { check } from "./check.mjs";
import { documented } from "./documented.mjs";
import { opened, until } from "./sockets.mjs";

const ECHO = ["sh", "-c", "stty raw -echo; printf ready; exec cat"];

/** A terminal that echoes, and a socket that has heard it say so. */
async function echoing(rt) {
  const { ws, heard } = await opened(rt);
  const { id } = await rt.terminal.create({ cmd: ECHO });
  const said = () => (heard.output[id] ?? Buffer.alloc(0)).toString();
  await until(() => said() === "ready", "ready");
  const done = async () => { await rt.terminal.close(id); ws.close(); };
  return { ws, heard, id, said, done };
}

check("runtime.ws gives a socket of this runtime", async ({ rt }) => {
  const { ws, heard } = await opened(rt);
  assert.equal(heard.messages[0].type, "hello");
  ws.close();
  const local = await opened(rt.forTarget("local"));
  assert.deepEqual(local.heard.messages[0], heard.messages[0]);
  local.ws.close();
});

check("ws.connect opens, and says so", async ({ rt }) => {
  const { ws, heard } = await opened(rt);
  assert.deepEqual([heard.opens, ws.connected, heard.errors], [1, true, []]);
  ws.close();
});

check("ws.onOpen is called", async ({ rt }) => {
  const ws = rt.ws({ reconnect: false });
  await new Promise((open) => { ws.onOpen(open).connect(); });
  ws.close();
});

check("ws.onError and a close tell of a wrong token", async ({ url }) => {
  const { heard } = await opened(new Runtime({ token: "wrong", baseUrl: url }));
  assert.deepEqual([heard.opens, heard.errors.length, heard.closes.length], [0, 1, 1]);
});

check("ws.onTerminalOutput gets bytes by terminal", async ({ rt }) => {
  const one = await echoing(rt);
  const two = await rt.terminal.create({ cmd: ["sh", "-c", "stty raw; printf '\\377\\0other'; sleep 600"] });
  await until(() => one.heard.output[two.id]?.length === 7, "the other's output");
  assert.deepEqual([...one.heard.output[two.id]], [255, 0, ...Buffer.from("other")]);
  assert.equal(one.said(), "ready");
  await rt.terminal.close(two.id);
  await one.done();
});

check("ws.onTerminalOutput gets the scrollback of a terminal that was there", async ({ rt }) => {
  const one = await echoing(rt);
  const late = await opened(rt);
  await until(() => late.heard.output[one.id]?.toString() === "ready", "the replay");
  late.ws.close();
  await one.done();
});

check("ws.onTerminalExit gets the code, now and later", async ({ rt }) => {
  const { ws, heard } = await opened(rt);
  const { id } = await rt.terminal.create({ cmd: ["sh", "-c", "exit 9"] });
  const exit = (those) => those.exits.find(([which]) => which === id);
  assert.deepEqual(await until(() => exit(heard), "exit"), [id, 9]);
  const late = await opened(rt);
  assert.deepEqual(await until(() => exit(late.heard), "exit again"), [id, 9]);
  late.ws.close();
  ws.close();
  await rt.terminal.close(id);
});

check("ws.writeTerminalInput takes text and bytes", async ({ rt }) => {
  const one = await echoing(rt);
  one.ws.writeTerminalInput(one.id, "ä");
  one.ws.writeTerminalInput(Number(one.id), new Uint8Array([98, 99]));
  await until(() => one.said() === "readyäbc", "the echo");
  await one.done();
});

check("ws.resizeTerminal sets the size", async ({ rt }) => {
  const { ws, heard } = await opened(rt);
  const script = "trap 'stty size' WINCH; echo up; while :; do sleep 0.05; done";
  const { id } = await rt.terminal.create({ cmd: ["sh", "-c", script] });
  await until(() => heard.output[id]?.includes("up"), "up");
  ws.resizeTerminal(id, 160, 50);
  await until(() => heard.output[id].includes("50 160"), "the new size");
  await rt.terminal.close(id);
  ws.close();
});

check("ws.sendJSON passes anything on, and what is odd is told of", async ({ rt }) => {
  const { ws, heard } = await opened(rt);
  ws.sendJSON({ channel: "terminal", type: "resize", id: "254", cols: 1, rows: 1 });
  const error = await until(() => heard.messages.find((one) => one.type === "error"), "an error");
  assert.equal(error.channel, "terminal");
  assert.match(error.error, /254/);
  assert(ws.connected);
  ws.close();
});

check("ws.onMessage gets every text frame", async ({ rt }) => {
  const { ws, heard } = await opened(rt);
  const { id } = await rt.terminal.create({ cmd: ["true"] });
  await until(() => heard.messages.some((one) => one.type === "exit" && one.id === id), "exit");
  documented("WSTerminalExit", heard.messages.find((one) => one.type === "exit" && one.id === id));
  assert.equal(heard.messages[0].channel, "system");
  ws.close();
  await rt.terminal.close(id);
});

check("ws.onWatcherEvent gets ready and changes", async ({ rt, tree }) => {
  const { ws, heard } = await opened(rt);
  const { id } = await rt.watcher.create({ path: tree });
  const of = (type) => heard.events.find((one) => one.watcher_id === id && one.type === type);
  documented("WSWatcherReady", await until(() => of("ready"), "ready"));
  fs.writeFileSync(path.join(tree, "file"), "a");
  const change = documented("WSWatcherChange", await until(() => of("change"), "a change"));
  assert.equal(change.path, path.join(tree, "file"));
  await rt.watcher.delete(id);
  ws.close();
});

check("ws.onClose is told when it is over, and ws.close does not reconnect", async ({ rt }) => {
  const { ws, heard } = await opened(rt, { reconnect: true, reconnectDelay: 10 });
  ws.close();
  await until(() => heard.closes.length === 1, "the close");
  assert.equal(heard.closes[0][0], 1000);
  await new Promise((later) => setTimeout(later, 100));
  assert.deepEqual([heard.opens, ws.connected], [1, false]);
});

check("ws.close leaves terminals alive", async ({ rt }) => {
  const one = await echoing(rt);
  one.ws.close();
  await until(() => one.heard.closes.length === 1, "the close");
  assert.equal((await rt.terminal.scrollback(one.id)).alive, true);
  await rt.terminal.close(one.id);
});
