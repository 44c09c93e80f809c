// `terminal.create`, `list`, `close` and `scrollback`. Source: wire contract, section 5.

import assert from "node:assert/strict";
import { NotFoundError, OblienError, RateLimitError } from "oblien";
import { check, refused } from "./check.mjs";
import { documented } from "./documented.mjs";
import { until } from "./sockets.mjs";

const text = (scrollback) => Buffer.from(scrollback.scrollback, "base64").toString();
const ended = (rt, id) => until(async () => !(await rt.terminal.scrollback(id)).alive, "its end");

check("terminal.create opens a terminal as asked", async ({ rt }) => {
  const term = documented("TerminalSession", await rt.terminal.create({ shell: "/bin/sh", cols: 120, rows: 40 }));
  assert.deepEqual([term.command, term.cols, term.rows, term.alive], [["/bin/sh"], 120, 40, true]);
  assert.match(term.id, /^\d{1,3}$/);
  await rt.terminal.close(term.id);
});

check("terminal.create takes a command and the size of the ring", async ({ rt }) => {
  const term = await rt.terminal.create({ cmd: ["sh", "-c", "stty size; seq 1 1000"], scrollbackSize: 100 });
  assert.equal(term.scrollback_size, 100);
  await ended(rt, term.id);
  const ring = await rt.terminal.scrollback(term.id);
  assert.equal(ring.size, 100);
  assert(text(ring).endsWith("\r\n999\r\n1000\r\n"));
  await rt.terminal.close(term.id);
});

check("terminal.create without anything is a shell of 80 by 24", async ({ rt }) => {
  const term = await rt.terminal.create();
  assert.deepEqual([term.command, term.cols, term.rows], [[(await rt.info()).shell], 80, 24]);
  await rt.terminal.close(term.id);
});

check("terminal.create raises for what cannot be", async ({ rt }) => {
  const bad = { status: 400, code: "bad_request" };
  await refused(rt.terminal.create({ cols: -1 }), { ...bad, says: /cols/ });
  await refused(rt.terminal.create({ rows: 65536 }), { ...bad, says: /rows/ });
  const missing = { type: OblienError, status: 500, code: "internal", says: /executable not found: nosuch/ };
  await refused(rt.terminal.create({ shell: "nosuch" }), missing);
});

check("terminal.create raises for the eleventh", async ({ rt }) => {
  const open = [];
  for (let one = 0; one < 10; one += 1) open.push((await rt.terminal.create({ shell: "cat" })).id);
  const many = { type: RateLimitError, status: 429, code: "rate_limited", says: /10/ };
  await refused(rt.terminal.create({ shell: "cat" }), many);
  await Promise.all(open.map((id) => rt.terminal.close(id)));
});

check("terminal.list tells of those that live and of those that ended", async ({ rt }) => {
  const alive = await rt.terminal.create({ shell: "cat" });
  const over = await rt.terminal.create({ cmd: ["sh", "-c", "exit 3"] });
  await ended(rt, over.id);
  const listed = await rt.terminal.list();
  for (const one of listed) documented("TerminalSession", one);
  const told = Object.fromEntries(listed.map((one) => [one.id, [one.alive, one.exit_code]]));
  assert.deepEqual([told[alive.id], told[over.id]], [[true, 0], [false, 3]]);
  await Promise.all([alive, over].map((one) => rt.terminal.close(one.id)));
});

check("terminal.close ends it and forgets it", async ({ rt }) => {
  const term = await rt.terminal.create({ shell: "cat" });
  assert.deepEqual(await rt.terminal.close(term.id), { success: true, terminal_id: term.id });
  assert(!(await rt.terminal.list()).some((one) => one.id === term.id));
  const unknown = { type: NotFoundError, status: 404, code: "not_found", says: /no terminal/ };
  await refused(rt.terminal.close(term.id), unknown);
});

check("terminal.scrollback gives what was written, or its end", async ({ rt }) => {
  const term = await rt.terminal.create({ cmd: ["sh", "-c", "echo ä; echo end; exit 4"] });
  await ended(rt, term.id);
  const whole = documented("TerminalScrollbackResponse", await rt.terminal.scrollback(term.id));
  assert.deepEqual([text(whole), whole.size, whole.alive, whole.exit_code], ["ä\r\nend\r\n", 9, false, 4]);
  const last = await rt.terminal.scrollback(term.id, { bytes: 5 });
  assert.deepEqual([text(last), last.size], ["end\r\n", 5]);
  await rt.terminal.close(term.id);
  await refused(rt.terminal.scrollback(term.id), { type: NotFoundError, status: 404, code: "not_found", says: /no terminal/ });
});
