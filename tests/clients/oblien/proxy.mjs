// Applications of the workspace through the client's `proxy`. Source: wire contract, section 8.
//
// Each application here is Node's own HTTP server; its WebSockets are answered by hand, since Node
// has none that serves.

import assert from "node:assert/strict";
import crypto from "node:crypto";
import http from "node:http";
import { check } from "./check.mjs";
import "./sockets.mjs";

/** Runs `use` with the port of an application that `answer`s; `upgrade` has its sockets. */
async function serving(answer, use, upgrade) {
  const server = http.createServer(answer);
  if (upgrade) server.on("upgrade", upgrade);
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  try {
    return await use(server.address().port);
  } finally {
    server.closeAllConnections?.();
    await new Promise((closed) => server.close(closed));
  }
}

async function text(stream) {
  let found = "";
  for await (const piece of stream) found += piece;
  return found;
}

check("runtime.proxy wants a port", ({ rt }) => {
  for (const port of [0, 65536, 1.5, "80"]) assert.throws(() => rt.proxy(port), /invalid proxy port/);
  assert.equal(typeof rt.proxy(65535).fetch, "function");
});

check("proxy.fetch reaches the application, which learns no token and no target", async ({ rt, token }) => {
  let got;
  const answer = async (request, response) => {
    got = { method: request.method, url: request.url, headers: request.headers, body: await text(request) };
    response.writeHead(201, { "X-Mine": "yes", "Set-Cookie": ["a=b", "c=d"] });
    response.end("made");
  };
  await serving(answer, async (port) => {
    for (const handle of [rt.proxy(port), rt.proxy(port, "localhost"), rt.proxy(port, "127.0.0.1")]) {
      const told = await handle.fetch("/api/users?limit=10&token=mine", {
        method: "POST",
        headers: { "Content-Type": "application/json", "X-Own": "1" },
        body: JSON.stringify({ name: "żółć" }),
      });
      assert.equal(told.status, 201);
      assert.equal(told.headers.get("x-mine"), "yes");
      assert.equal(await told.text(), "made");
      assert.deepEqual([got.method, got.url], ["POST", "/api/users?limit=10&token=mine"]);
      assert.deepEqual(JSON.parse(got.body), { name: "żółć" });
      assert.equal(got.headers.host, `localhost:${port}`);
      assert.equal(got.headers["x-own"], "1");
      assert(!JSON.stringify(got.headers).includes(token), "the token arrived");
      assert.equal(got.headers["x-oblien-proxy-target"], undefined);
    }
  });
});

check("proxy.fetch streams events as they come", async ({ rt }) => {
  let go;
  const asked = new Promise((resolve) => (go = resolve));
  const answer = async (_request, response) => {
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.write("data: one\n\n");
    await asked;
    response.end("data: two\n\n");
  };
  await serving(answer, async (port) => {
    const told = await rt.proxy(port).fetch("events");
    const found = [];
    for await (const piece of told.body) {
      found.push(new TextDecoder().decode(piece));
      go();
    }
    assert.equal(found.join(""), "data: one\n\ndata: two\n\n");
    assert(found.length >= 2, "the second waited for nothing, so the first was not held back");
  });
});

check("proxy.fetch follows the application's redirects to itself", async ({ rt }) => {
  const answer = (request, response) => {
    if (request.url === "/old") response.writeHead(302, { Location: `http://${request.headers.host}/new` });
    response.end(request.url);
  };
  await serving(answer, async (port) => {
    const told = await rt.proxy(port).fetch("/old");
    assert.deepEqual([told.status, await told.text(), told.redirected], [200, "/new", true]);
    const manual = await rt.proxy(port).fetch("/old", { redirect: "manual" });
    assert.equal(manual.status, 302);
  });
});

check("proxy.fetch is aborted by its signal, and the application learns of it", async ({ rt }) => {
  let left;
  const gone = new Promise((resolve) => (left = resolve));
  const answer = (_request, response) => {
    response.on("close", left);
    response.write("first");
  };
  await serving(answer, async (port) => {
    const abort = new AbortController();
    const told = await rt.proxy(port).fetch("/", { signal: abort.signal });
    await told.body.getReader().read();
    abort.abort();
    await gone;
  });
});

check("proxy.fetch answers 502 where nothing listens, and 403 elsewhere", async ({ rt, ownPort }) => {
  const port = await serving(() => {}, async (free) => free);
  const told = await rt.proxy(port).fetch("/");
  assert.equal(told.status, 502);
  assert.deepEqual({ ...(await told.json()), request_id: 0, error: "" }, {
    success: false, code: "bad_gateway", may_have_arrived: false, request_id: 0, error: "",
  });
  assert.equal((await rt.proxy(80, "169.254.169.254").fetch("/")).status, 403);
  assert.equal((await rt.proxy(Number(ownPort)).fetch("/health")).status, 403);
});

/** An application's side of a WebSocket: echoes each short text frame, then is closed. */
function echo(request, socket) {
  const accept = crypto
    .createHash("sha1")
    .update(`${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    .digest("base64");
  const chosen = request.headers["sec-websocket-protocol"]?.split(/, */).at(-1);
  socket.write(
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
      `Sec-WebSocket-Accept: ${accept}\r\n` +
      (chosen ? `Sec-WebSocket-Protocol: ${chosen}\r\n\r\n` : "\r\n"),
  );
  const say = (opcode, payload) =>
    socket.write(Buffer.concat([Buffer.from([0x80 | opcode, payload.length]), payload]));
  say(1, Buffer.from(request.url));
  socket.on("data", (data) => {
    const length = data[1] & 0x7f;
    const payload = data.subarray(6, 6 + length).map((byte, at) => byte ^ data[2 + (at % 4)]);
    say(data[0] & 0xf, payload);
    if ((data[0] & 0xf) === 8) socket.end();
  });
}

check("proxy.ws speaks with the application", async ({ rt, token }) => {
  const use = async (port) => {
    const socket = rt.proxy(port).ws("/socket?room=1", ["a", "b"]);
    const found = [];
    const closed = new Promise((resolve) => (socket.onclose = resolve));
    socket.onmessage = ({ data }) => {
      found.push(data);
      if (found.length === 1) socket.send("hello");
      else socket.close(4000, "bye");
    };
    const { code, reason } = await closed;
    assert.deepEqual(found, ["/socket?room=1", "hello"]);
    assert.deepEqual([socket.protocol, code, reason], ["b", 4000, "bye"]);
    assert(!found[0].includes(token));
  };
  await serving(() => {}, use, echo);
});
