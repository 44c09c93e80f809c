// What the client asks of the runtime itself: health, facts, targets, and the desktop that is
// not there. Source: wire contract, section 1.

import assert from "node:assert/strict";
import net from "node:net";
import { AuthenticationError, NotFoundError } from "oblien";
import { Runtime } from "oblien/runtime";
import { check, refused } from "./check.mjs";
import { documented } from "./documented.mjs";

check("runtime.health is true", async ({ rt }) => {
  assert.equal(await rt.health(), true);
});

check("runtime.health is true without a valid token, and below a target", async ({ rt, url }) => {
  assert.equal(await new Runtime({ token: "wrong", baseUrl: url }).health(), true);
  assert.equal(await rt.forTarget("local").health(), true);
});

check("runtime.health is false where nothing listens", async () => {
  const server = net.createServer();
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const { port } = server.address();
  await new Promise((closed) => server.close(closed));
  const nobody = new Runtime({ token: "any", baseUrl: `http://127.0.0.1:${port}` });
  assert.equal(await nobody.health(), false);
});

check("runtime.info tells the facts", async ({ rt }) => {
  const info = documented("RuntimeInfo", await rt.info());
  assert.equal(info.success, true);
  assert(info.cpus >= 1 && info.home.startsWith("/") && info.shell.startsWith("/"), info);
});

check("runtime.info raises for a wrong token", async ({ url, token }) => {
  for (const wrong of ["wrong", `${token}0`, token.slice(1)]) {
    const call = new Runtime({ token: wrong, baseUrl: url }).info();
    await refused(call, { type: AuthenticationError, status: 401, code: "unauthorized", says: /token/ });
  }
});

check("runtime.targets tells of this one", async ({ rt }) => {
  const found = documented("RuntimeDiscovery", await rt.targets());
  const { success, ...facts } = await rt.info();
  assert.equal(success, true);
  assert.equal(found.default_target, "local");
  assert.deepEqual(found.targets, [{ id: "local", local: true, available: true, runtime: facts }]);
});

check("runtime.forTarget leads to the same runtime", async ({ rt, tree }) => {
  for (const target of ["local", "default"]) {
    const same = rt.forTarget(target);
    assert.deepEqual(await same.info(), await rt.info());
    assert.deepEqual(await same.files.stat({ path: tree }), await rt.files.stat({ path: tree }));
    assert.deepEqual(await same.targets(), await rt.targets());
  }
});

check("runtime.forTarget of an unknown target is not found", async ({ rt }) => {
  const call = rt.forTarget("elsewhere").files.list();
  await refused(call, { type: NotFoundError, status: 404, code: "not_found", says: /elsewhere/ });
});

check("runtime.info takes a base URL that ends in a slash", async ({ rt, url, token }) => {
  const same = new Runtime({ token, baseUrl: `${url}/` });
  assert.deepEqual(await same.info(), await rt.info());
});

check("desktop.status says that there is none", async ({ rt }) => {
  const status = documented("DesktopStatus", await rt.desktop.status());
  assert.deepEqual([status.supported, status.enabled, status.available, status.credentials], Array(4).fill(false));
  assert.deepEqual(await rt.forTarget("local").desktop.status(), status);
});

check("desktop.tunnel gives up by the status", async ({ rt }) => {
  await assert.rejects(rt.desktop.tunnel(), /does not provide a desktop/);
});

check("desktop.enable is not found", async ({ rt }) => {
  await refused(rt.desktop.enable(), { type: NotFoundError, status: 404, code: "not_found", says: /desktop\/enable/ });
});

check("desktop.disable is not found", async ({ rt }) => {
  await refused(rt.desktop.disable(), { type: NotFoundError, status: 404, code: "not_found", says: /desktop\/disable/ });
});

check("desktop.credentials is not found", async ({ rt }) => {
  const call = rt.desktop.credentials();
  await refused(call, { type: NotFoundError, status: 404, code: "not_found", says: /desktop\/credentials/ });
});

check("desktop.url carries a token that opens nothing", async ({ rt }) => {
  const answer = await fetch(rt.desktop.url());
  assert.equal(answer.status, 401);
  assert.equal((await answer.json()).success, false);
});
