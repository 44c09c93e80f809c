// The package's WebSocket, opened and watched, for checks of several files.
//
// Belongs here: what a browser brings and Node before 22 does not, and waiting. Banned here: checks.

import WebSocket from "ws";

globalThis.WebSocket ??= WebSocket;

const SECONDS = 10;

/** Waits until `found` gives something that is not false; gives that. */
export async function until(found, what = "it") {
  const deadline = Date.now() + SECONDS * 1000;
  for (;;) {
    const value = await found();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`${what} did not come to be`);
    await new Promise((later) => setTimeout(later, 5));
  }
}

/** A connected `rt.ws()`, with all that it hears: `output` by terminal, `exits`, `messages`. */
export async function opened(rt, options = { reconnect: false }) {
  const ws = rt.ws(options);
  const heard = { output: {}, exits: [], messages: [], events: [], opens: 0, closes: [], errors: [] };
  ws.onTerminalOutput((id, data) => {
    heard.output[id] = Buffer.concat([heard.output[id] ?? Buffer.alloc(0), Buffer.from(data)]);
  });
  ws.onTerminalExit((id, code) => heard.exits.push([id, code]));
  ws.onWatcherEvent((event) => heard.events.push(event));
  ws.onMessage((message) => heard.messages.push(message));
  ws.onOpen(() => { heard.opens += 1; });
  ws.onClose((code, reason) => heard.closes.push([code, reason]));
  ws.onError((error) => heard.errors.push(error));
  ws.connect();
  await until(() => heard.messages.length > 0 || heard.closes.length > 0, "a hello");
  return { ws, heard };
}
