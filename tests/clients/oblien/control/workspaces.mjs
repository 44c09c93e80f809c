// What the package does with workspaces: CRUD, power, access, network. Source: wire contract,
// section 9.

import assert from "node:assert/strict";
import Oblien, { AuthenticationError, ConflictError, NotFoundError, OblienError } from "oblien";
import { check, refused } from "../check.mjs";
import { documented } from "../documented.mjs";

const claims = (token) => JSON.parse(Buffer.from(token.split(".")[1], "base64url").toString());
const notThere = { type: NotFoundError, status: 404, code: "not_found", says: /no such workspace/ };

check("workspaces.create waits until it is ready", async ({ client }) => {
  const made = await client.workspaces.create({ name: "From Node", cpus: 2, memory_mb: 512, image: "node" });
  documented("WorkspaceData", made);
  assert.match(made.id, /^ws_/);
  assert.equal(made.ready, true);
  assert.equal(made.status, "running");
  assert.deepEqual(made.resources, { cpus: 2, memory_mb: 512 });
});

check("workspaces.create without waiting, and waitUntilReady", async ({ client }) => {
  const made = await client.workspaces.create({ wait_ready: false });
  const ready = await client.workspaces.waitUntilReady(made.id, { timeoutMs: 20_000 });
  assert.deepEqual([ready.id, ready.ready], [made.id, true]);
});

check("workspaces.create with a key makes one", async ({ client }) => {
  const asked = { idempotency_key: "node-once", name: "once" };
  const [one, two] = await Promise.all([client.workspaces.create(asked), client.workspaces.create(asked)]);
  assert.equal(one.id, two.id);
  const call = client.workspaces.create({ ...asked, name: "other" });
  await refused(call, { type: ConflictError, status: 409, code: "conflict", says: /idempotency_key/ });
});

check("workspaces.create with a wrong slug is refused", async ({ client }) => {
  const call = client.workspaces.create({ slug: "No" });
  await refused(call, { type: OblienError, status: 400, code: "bad_request", says: /slug/ });
});

check("workspaces.get by id and by slug", async ({ client, other }) => {
  const made = await client.workspaces.create({ slug: "by-slug" });
  assert.deepEqual(await client.workspaces.get(made.id), made);
  assert.deepEqual(await client.workspaces.get("by-slug"), made);
  await refused(other.workspaces.get(made.id), notThere);
  await refused(other.workspaces.get("by-slug"), notThere);
});

check("workspaces.list in pages", async ({ other }) => {
  for (let count = 0; count < 3; count += 1) await other.workspaces.create();
  const first = documented("WorkspaceListResponse", await other.workspaces.list({ limit: 2 }));
  const second = await other.workspaces.list({ limit: 2, page: 2 });
  assert.deepEqual([first.total, first.page, first.limit], [3, 1, 2]);
  const ids = [...first.workspaces, ...second.workspaces].map((one) => one.id);
  assert.equal(new Set(ids).size, 3);
  assert.equal((await other.workspaces.list({ status: "stopped" })).total, 0);
});

check("workspaces.update changes what is given, and null clears", async ({ client }) => {
  const { id } = await client.workspaces.create({ slug: "for-now" });
  const named = await client.workspaces.update(id, { name: "New", config: { env: ["A=b"] } });
  assert.deepEqual([named.name, named.slug, named.config], ["New", "for-now", { env: ["A=b"] }]);
  assert.equal((await client.workspaces.update(id, { slug: null })).slug, null);
});

check("workspaces.delete leaves nothing", async ({ client }) => {
  const { id } = await client.workspaces.create();
  assert.equal((await client.workspaces.delete(id)).success, true);
  await refused(client.workspaces.get(id), notThere);
  await refused(client.workspaces.delete(id), notThere);
});

check("workspaces.stop, start, restart", async ({ client }) => {
  const ws = client.workspace((await client.workspaces.create()).id);
  assert.equal((await ws.stop()).success, true);
  assert.deepEqual((await ws.get()).info, { status: "stopped", is_running: false });
  for (const verb of ["start", "restart"]) {
    assert.equal((await ws[verb]()).success, true);
    assert.equal((await ws.get()).info.is_running, true);
  }
});

check("workspaces.retryCreation of one that is made changes nothing", async ({ client }) => {
  const made = await client.workspaces.create();
  assert.equal((await client.workspaces.retryCreation(made.id)).ready, true);
});

check("workspaces with wrong credentials", async ({ url, client_id }) => {
  for (const clientId of [client_id, "client_nobody"]) {
    const wrong = new Oblien({ clientId, clientSecret: "wrong", baseUrl: url });
    const why = { type: AuthenticationError, status: 401, code: "unauthorized", says: /X-Client-ID/ };
    await refused(wrong.workspaces.list(), why);
  }
});

check("apiAccess from enabling to disabling", async ({ client, other }) => {
  const { id } = await client.workspaces.create();
  const { apiAccess } = client.workspaces;
  const before = documented("ApiAccessStatus", await apiAccess.status(id));
  assert.deepEqual([before.enabled, before.running], [false, false]);
  const why = { type: ConflictError, status: 409, code: "conflict", says: /enable/ };
  await refused(apiAccess.getToken(id), why);
  await refused(apiAccess.rotateToken(id), why);

  const access = await apiAccess.enable(id);
  assert.match(access.token, /^eyJ/);
  assert.equal(access.enabled, true);
  const status = await apiAccess.status(id);
  assert.deepEqual([status.enabled, status.running], [true, true]);

  const raw = documented("RawTokenResponse", await apiAccess.rawToken(id));
  const embedded = claims(access.token);
  assert.deepEqual([embedded.sub, embedded.ip, embedded.port], [id, raw.ip, raw.port]);
  const again = claims((await apiAccess.getToken(id)).token);
  assert.equal(again.gen, embedded.gen);

  const ask = (token) =>
    fetch(`http://${raw.ip}:${raw.port}/runtime`, { headers: { Authorization: `Bearer ${token}` } });
  assert.equal((await ask(raw.token)).status, 200);
  const rotated = await apiAccess.rotateToken(id);
  assert.equal(claims(rotated.token).gen, embedded.gen + 1);
  assert.equal((await ask(raw.token)).status, 401);
  assert.equal((await ask((await apiAccess.rawToken(id)).token)).status, 200);

  for (const method of ["status", "enable", "disable", "rotateToken", "getToken", "rawToken"]) {
    await refused(other.workspaces.apiAccess[method](id), notThere);
  }
  assert.equal((await apiAccess.disable(id)).success, true);
  assert.equal((await apiAccess.status(id)).enabled, false);
  await assert.rejects(ask(raw.token));
});

check("apiAccess by way of workspaces.runtime", async ({ client }) => {
  const ws = client.workspace((await client.workspaces.create()).id);
  const first = await ws.runtime();
  assert.equal(await ws.runtime(), first);
  assert.notEqual(await ws.runtime({ force: true }), first);
  assert.equal((await ws.apiAccess.status()).enabled, true);
});

check("network.get and update", async ({ client, other }) => {
  const { id } = await client.workspaces.create();
  const { network } = client.workspaces;
  const before = documented("NetworkConfig", await network.get(id));
  assert.deepEqual([before.public_access, before.allow_internet, before.private_links], [false, true, []]);
  assert.equal((await network.update(id, { public_access: true })).success, true);
  const caller = await client.workspaces.create();
  await network.update(id, { private_link_ids: [caller.id] });
  const after = await network.get(id);
  assert.equal(after.public_access, true);
  assert.deepEqual(after.private_links.map((one) => one.workspace_id), [caller.id]);

  const foreign = await other.workspaces.create();
  await refused(network.update(id, { private_link_ids: [foreign.id] }), notThere);
  const unsupported = { type: OblienError, status: 400, code: "unsupported", says: /cannot enforce/ };
  await refused(network.update(id, { allow_internet: false }), unsupported);
  await refused(network.setCustomProxy(id, { host: "203.0.113.7", port: 3128 }), unsupported);
  assert.equal((await network.clearCustomProxy(id)).success, true);
  assert.deepEqual(await network.get(id), after);
});
