// Plays the main job with two users against a running homeserver. See README.md beside the client folders.
//
//   node main.mjs --url http://127.0.0.1:8008 [--default-version 12 | --any-default-version] [--no-restart]
import "./lib/quiet.mjs";
import { parseArgs } from "node:util";
import { finish, check, need } from "./lib/report.mjs";
import { accounts } from "./parts/accounts.mjs";
import { rooms } from "./parts/rooms.mjs";
import { membership } from "./parts/membership.mjs";
import { messages } from "./parts/messages.mjs";
import { state } from "./parts/state.mjs";
import { ephemeral } from "./parts/ephemeral.mjs";
import { restart } from "./parts/restart.mjs";
import { logout } from "./parts/logout.mjs";

const { values: options } = parseArgs({
  options: {
    url: { type: "string", default: "http://127.0.0.1:8008" },
    "default-version": { type: "string", default: "12" },
    "any-default-version": { type: "boolean", default: false },
    "no-restart": { type: "boolean", default: false },
  },
});

process.on("unhandledRejection", (error) => {
  void check("no unhandled rejection in the SDK", () => {
    throw error;
  });
});

const world = {
  url: options.url,
  defaultVersion: options["any-default-version"] ? null : options["default-version"],
  restarts: !options["no-restart"],
  tag: Date.now().toString(36),
};

await need("accounts", () => accounts(world));
for (const part of [rooms, membership, messages, state, ephemeral, restart, logout]) {
  await check(`part ${part.name} ran to its end`, () => part(world));
}
world.alice.stopClient();
world.bob.stopClient();
finish();
