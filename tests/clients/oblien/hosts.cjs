// Preloaded (`node --require`): connections to the package's two fixed host names go to ports of
// this machine, given as HOSTS='{"api.oblien.com": 9970, ...}'. Names, Host headers and
// certificates stay what they are; nothing of the package is changed.

const tls = require("node:tls");

const ports = JSON.parse(process.env.HOSTS);
const connect = tls.connect;

tls.connect = function (...given) {
  const [options, ...rest] = given;
  const port = typeof options === "object" ? ports[options.servername || options.host] : undefined;
  if (port === undefined) return connect.apply(this, given);
  const host = options.servername || options.host;
  return connect.call(this, { ...options, host: "127.0.0.1", port, servername: host }, ...rest);
};
