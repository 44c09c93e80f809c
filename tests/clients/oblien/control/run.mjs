// Runs the checks of one file against a control plane: `node control/run.mjs FILE`, with URL, ID,
// SECRET, OTHER_ID and OTHER_SECRET in the environment: where it is, and two clients of it.
//
// Prints one line of JSON a check: `{"check", "ok"}`, and `"error"` where it is not ok.

import Oblien from "oblien";
import { checks } from "../check.mjs";

const CHECK_SECONDS = 60;
const { URL: url, ID, SECRET, OTHER_ID, OTHER_SECRET } = process.env;

function client(clientId, clientSecret) {
  return new Oblien({ clientId, clientSecret, baseUrl: url });
}

async function outcome(run) {
  try {
    await run({ client: client(ID, SECRET), other: client(OTHER_ID, OTHER_SECRET), url, client_id: ID });
    return { ok: true };
  } catch (error) {
    return { ok: false, error: error.stack };
  }
}

await import(`./${process.argv[2]}`);
for (const [name, run] of checks) {
  const watchdog = setTimeout(() => {
    console.error(`no end of "${name}" within ${CHECK_SECONDS} s`);
    process.exit(1);
  }, CHECK_SECONDS * 1000);
  console.log(JSON.stringify({ check: name, ...(await outcome(run)) }));
  clearTimeout(watchdog);
}
process.exit(0);
