// The first pages of the reference, with the published package: its own host names, nothing given
// but the client's id and secret. Prints one line of JSON: what each step gave.
//
// Source: reference, "Connection & Auth". `ws_a1b2c3d4` there is WORKSPACE here.

import Oblien from "oblien";
import { Runtime } from "oblien/runtime";
import WebSocket from "ws";

const id = process.env.WORKSPACE;
const told = {};

const client = new Oblien({
  clientId: process.env.OBLIEN_CLIENT_ID,
  clientSecret: process.env.OBLIEN_CLIENT_SECRET,
});

const access = await client.workspaces.apiAccess.enable(id);
told.token = access.token;
told.enabled = access.enabled;

await client.workspaces.network.update(id, { public_access: true });

const rt = await client.workspaces.runtime(id);
const files = await rt.files.list({ dirPath: process.env.APP });
told.files = files.entries.map((one) => one.name);
const result = await rt.exec.run(["ls", "-la", process.env.APP]);
told.stdout = result.stdout;
const terminal = await rt.terminal.create({ shell: "/bin/bash" });
told.terminal = terminal.id;

// wscat -c "wss://workspace.oblien.com/ws" -H "Authorization: Bearer $GATEWAY_JWT"
told.hello = await new Promise((resolve, reject) => {
  const socket = new WebSocket("wss://workspace.oblien.com/ws", {
    headers: { Authorization: `Bearer ${access.token}` },
  });
  socket.once("error", reject);
  socket.once("message", (data) => {
    resolve(JSON.parse(data));
    socket.close();
  });
});

const raw = await client.workspaces.apiAccess.rawToken(id);
told.raw = { token: raw.token, ip: raw.ip, port: raw.port };
const direct = await fetch(`http://${raw.ip}:${raw.port}/files?path=${process.env.APP}`, {
  headers: { Authorization: `Bearer ${raw.token}` },
});
told.direct = (await direct.json()).entries.map((one) => one.name);

const rotated = await client.workspaces.apiAccess.rotateToken(id);
told.after = [];
for (const token of [access.token, rotated.token]) {
  try {
    await new Runtime({ token }).info();
    told.after.push("welcome");
  } catch (error) {
    told.after.push(error.status);
  }
}
const forced = await client.workspaces.runtime(id, { force: true });
told.forced = (await forced.info()).success;

await client.workspaces.apiAccess.disable(id);
told.status = await client.workspaces.apiAccess.status(id);
console.log(JSON.stringify(told));
process.exit(0);
