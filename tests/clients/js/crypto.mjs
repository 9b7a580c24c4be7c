// Two users with end-to-end encryption: they verify each other, chat, back their keys up, restore them on a third
// device and share history. See README.md beside the client folders.
//
//   node crypto.mjs --url http://127.0.0.1:8008
import "./lib/quiet.mjs";
import { parseArgs } from "node:util";
import { finish, check, need } from "./lib/report.mjs";
import { people } from "./crypto/people.mjs";
import { verification } from "./crypto/verification.mjs";
import { chat } from "./crypto/chat.mjs";
import { backup } from "./crypto/backup.mjs";
import { history } from "./crypto/history.mjs";

const { values: options } = parseArgs({ options: { url: { type: "string", default: "http://127.0.0.1:8008" } } });

process.on("unhandledRejection", (error) => {
  void check("no unhandled rejection in the SDK", () => {
    throw error;
  });
});

const world = { url: options.url, tag: Date.now().toString(36), clients: [] };
await need("people", () => people(world));
for (const part of [verification, chat, backup, history]) {
  await check(`part ${part.name} ran to its end`, () => part(world));
}
for (const client of world.clients) client.stopClient();
finish();
