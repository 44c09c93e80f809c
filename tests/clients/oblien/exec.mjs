// `exec.run`, `stream`, `subscribe`, `list`, `get`, `kill`, `deleteAll` and `input`.
// Source: wire contract, section 4. Oracle: `node:child_process`.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { ConflictError, NotFoundError, OblienError } from "oblien";
import { all, check, refused } from "./check.mjs";
import { documented } from "./documented.mjs";

const text = (events, name) =>
  Buffer.concat(events.filter((one) => one.event === name).map((one) => Buffer.from(one.data, "base64")));

const LOOP = 'i=0; while [ $i -lt 300 ]; do echo "line ä€ $i"; i=$((i+1)); done';

check("exec.run tells what node's own child tells", async ({ rt }) => {
  for (const words of [
    ["echo", "hello"], ["sh", "-c", "echo out; echo err >&2; exit 3"], ["node", "-e", "console.log(1); process.exit(7)"],
    ["printf", "%s|", "a b", "", "$HOME"], ["sh", "-c", "kill -9 $$"], ["sh", "-c", LOOP],
  ]) {
    const task = documented("ExecTask", await rt.exec.run(words));
    const done = spawnSync(words[0], words.slice(1), { encoding: "utf8" });
    assert.deepEqual([task.stdout, task.stderr], [done.stdout, done.stderr]);
    assert.equal(task.exit_code, done.signal === "SIGKILL" ? 137 : done.status);
    assert.deepEqual([task.command, task.status], [words, "exited"]);
  }
});

check("exec.run passes its parameters on", async ({ rt }) => {
  const shell = await rt.exec.run(["echo", "$((1+1))"], { execMode: "shell", ttlSeconds: 60, keepLogs: true });
  assert.deepEqual([shell.stdout, shell.ttl_seconds], ["2\n", 60]);
  const direct = await rt.exec.run(["echo $((1+1))"], { execMode: "direct" });
  assert.equal(direct.stdout, "$((1+1))\n");
  const late = await rt.exec.run(["sleep", "60"], { timeoutSeconds: 1 });
  assert.deepEqual([late.status, late.exit_code, late.error], ["failed", 124, "timed out after 1 s"]);
  const forever = await rt.exec.run(["true"], { ttlSeconds: -1 });
  assert.equal(forever.ttl_seconds, -1);
});

check("exec.run raises for what cannot be run", async ({ rt }) => {
  await refused(rt.exec.run([]), { status: 400, code: "bad_request", says: /cmd/ });
  const missing = { type: OblienError, status: 500, code: "internal", says: /executable not found: foo/ };
  await refused(rt.exec.run(["foo", "x"]), missing);
  await refused(all(rt.exec.stream(["foo", "x"])), missing);
});

check("exec.stream gives every byte, and exit once", async ({ rt }) => {
  const events = await all(rt.exec.stream(["sh", "-c", `${LOOP}; echo err >&2; exit 5`]));
  assert.equal(events[0].event, "task_id");
  assert.match(events[0].task_id, /^[\w-]+$/);
  const done = spawnSync("sh", ["-c", LOOP], { encoding: "utf8" });
  assert.equal(text(events, "stdout").toString(), done.stdout);
  assert.equal(text(events, "stderr").toString(), "err\n");
  const last = events.at(-1);
  assert.deepEqual([last.event, last.exit_code, typeof last.pid], ["exit", 5, "number"]);
  assert.equal(events.filter((one) => one.event === "exit").length, 1);
});

check("exec.input and exec.stream hold a conversation", async ({ rt }) => {
  const said = [];
  for await (const one of rt.exec.stream(["sh", "-c", 'while read line; do echo "got $line"; [ "$line" = end ] && exit 0; done'])) {
    said.push(one);
    if (one.event === "task_id") {
      assert.deepEqual(await rt.exec.input(one.task_id, "yes\n"), { success: true, bytes_written: 4 });
    } else if (one.event === "stdout" && text(said, "stdout").toString() === "got yes\n") {
      await rt.exec.input(said[0].task_id, "end\n");
    }
  }
  assert.equal(text(said, "stdout").toString(), "got yes\ngot end\n");
  const over = { type: ConflictError, status: 409, code: "conflict", says: /ended/ };
  await refused(rt.exec.input(said[0].task_id, "x"), over);
});

check("exec.subscribe gives output and exit of a task that has ended", async ({ rt }) => {
  const task = await rt.exec.run(["sh", "-c", "echo ä; echo err >&2; exit 4"]);
  const events = await all(rt.exec.subscribe(task.id));
  assert.deepEqual(events.map((one) => one.event), ["output", "exit"]);
  assert.deepEqual([events[0].stdout, events[0].stderr], ["ä\n", "err\n"]);
  assert.deepEqual([events[1].exit_code, events[1].pid], [4, task.guest_pid]);
});

check("exec.subscribe follows a task that runs", async ({ rt }) => {
  const first = rt.exec.stream(["sh", "-c", "echo one; read line; echo two"]);
  const id = (await first.next()).value.task_id;
  assert.equal((await first.next()).value.data, Buffer.from("one\n").toString("base64"));
  const second = rt.exec.subscribe(id);
  assert.equal(text([(await second.next()).value], "stdout").toString(), "one\n");
  await rt.exec.input(id, "\n");
  for (const rest of [await all(first), await all(second)]) {
    assert.deepEqual(rest.map((one) => one.event), ["stdout", "exit"]);
    assert.equal(text(rest, "stdout").toString(), "two\n");
  }
});

check("exec.list tells of tasks, without output", async ({ rt }) => {
  const task = await rt.exec.run(["echo", "listed"]);
  const listed = (await rt.exec.list()).find((one) => one.id === task.id);
  documented("ExecTask", listed);
  assert(!("stdout" in listed) && !("stderr" in listed), "lists carry no output");
});

check("exec.get tells what run told", async ({ rt }) => {
  const task = await rt.exec.run(["echo", "again"]);
  assert.deepEqual(documented("ExecTask", await rt.exec.get(task.id)), task);
  await refused(rt.exec.get("nope"), { type: NotFoundError, status: 404, code: "not_found", says: /nope/ });
});

check("exec.kill ends a task and forgets it", async ({ rt }) => {
  const events = rt.exec.stream(["sleep", "600"]);
  const id = (await events.next()).value.task_id;
  assert.deepEqual(await rt.exec.kill(id), { success: true });
  const rest = await all(events);
  assert.deepEqual(rest.map((one) => [one.event, one.exit_code]), [["exit", 137]]);
  await refused(rt.exec.kill(id), { type: NotFoundError, status: 404, code: "not_found", says: new RegExp(id) });
});

check("exec.deleteAll counts what it forgets", async ({ rt }) => {
  await rt.exec.deleteAll();
  await rt.exec.run(["true"]);
  const events = rt.exec.stream(["sleep", "600"]);
  await events.next();
  assert.deepEqual(await rt.exec.deleteAll(), { success: true, deleted: 2 });
  assert.deepEqual(await rt.exec.list(), []);
  assert.equal((await all(events)).at(-1).exit_code, 137);
});
