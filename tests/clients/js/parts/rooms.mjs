// Rooms: each preset, room versions 10, 11 and 12, and the default version.
import { check, refused, same, assert } from "../lib/report.mjs";
import { membership, raw, until } from "../lib/user.mjs";

const PRESETS = {
  private_chat: ["invite", "shared", "can_join"],
  trusted_private_chat: ["invite", "shared", "can_join"],
  public_chat: ["public", "shared", "forbidden"],
};

export async function rooms(world) {
  const { alice, bob } = world;
  for (const [preset, want] of Object.entries(PRESETS)) {
    await check(`preset ${preset} sets join rules, history and guests`, async () => {
      const { room_id } = await alice.createRoom({ preset, name: `room ${preset}` });
      const room = await membership(alice, room_id, "join");
      const key = (type, field) => room.currentState.getStateEvents(type, "")?.getContent()[field];
      await until(alice, () => room.name === `room ${preset}`, "the name");
      same(
        [
          key("m.room.join_rules", "join_rule"),
          key("m.room.history_visibility", "history_visibility"),
          key("m.room.guest_access", "guest_access") ?? "forbidden",
        ],
        want,
        preset,
      );
    });
  }
  await check("trusted_private_chat gives the invited the creator's power", async () => {
    const { room_id } = await alice.createRoom({
      preset: "trusted_private_chat",
      invite: [world.bobId],
      is_direct: true,
      room_version: "11",
    });
    await membership(bob, room_id, "invite");
    await bob.joinRoom(room_id);
    const { users } = await alice.getStateEvent(room_id, "m.room.power_levels", "");
    same(users, { [world.aliceId]: 100, [world.bobId]: 100 }, "users");
  });
  await check("trusted_private_chat in version 12 makes the invited a creator", async () => {
    const { room_id } = await alice.createRoom({
      preset: "trusted_private_chat",
      invite: [world.bobId],
      room_version: "12",
    });
    const create = await createContent(alice, room_id);
    same(create.additional_creators, [world.bobId], "additional_creators");
  });
  for (const version of ["10", "11", "12"]) {
    await check(`a room of version ${version} is made and joined`, async () => {
      const { room_id } = await alice.createRoom({ preset: "public_chat", room_version: version });
      await bob.joinRoom(room_id);
      await membership(bob, room_id, "join");
      const content = await createContent(alice, room_id);
      same(content.room_version, version, "room_version");
      same("creator" in content, version === "10", "creator in the content");
      same(room_id.includes(":"), version !== "12", "room id with a domain");
      await bob.sendTextMessage(room_id, `hello version ${version}`);
    });
  }
  await check("an unknown room version is refused", () =>
    refused(alice.createRoom({ room_version: "no-such-version" }), 400, "M_UNSUPPORTED_ROOM_VERSION"),
  );
  if (world.defaultVersion !== null) {
    await check(`version ${world.defaultVersion} is the default`, async () => {
      const capabilities = await alice.getCapabilities();
      same(capabilities["m.room_versions"].default, world.defaultVersion, "capability");
      const { room_id } = await alice.createRoom({});
      same((await createContent(alice, room_id)).room_version, world.defaultVersion, "new room");
    });
  }
  await check("initial state, topic and power levels of createRoom hold", async () => {
    const { room_id } = await alice.createRoom({
      topic: "first topic",
      creation_content: { "m.federate": false, "org.example.kept": 1 },
      initial_state: [{ type: "org.example.state", state_key: "key", content: { a: [1, { b: null }] } }],
      power_level_content_override: { events_default: 7 },
    });
    same(await alice.getStateEvent(room_id, "org.example.state", "key"), { a: [1, { b: null }] }, "state");
    const create = await createContent(alice, room_id);
    same([create["m.federate"], create["org.example.kept"]], [false, 1], "create");
    same((await alice.getStateEvent(room_id, "m.room.power_levels", "")).events_default, 7, "power");
    same((await alice.getStateEvent(room_id, "m.room.topic", "")).topic, "first topic", "topic");
  });
}

async function createContent(client, roomId) {
  const state = await raw(client, "GET", `/rooms/${encodeURIComponent(roomId)}/state`);
  const create = state.find((e) => e.type === "m.room.create");
  assert(create, "no m.room.create in the state");
  return create.content;
}
