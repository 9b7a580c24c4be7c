// Topic, name, avatar and power levels, as state and at the other side.
import { check, refused, same } from "../lib/report.mjs";
import { until } from "../lib/user.mjs";

export async function state(world) {
  const { alice, bob, room, aliceId, bobId } = world;
  const content = (type, key = "") => bob.getRoom(room).currentState.getStateEvents(type, key)?.getContent();

  await check("a new name reaches the other side", async () => {
    await alice.setRoomName(room, "renamed");
    await until(bob, () => bob.getRoom(room).name === "renamed", "the name");
  });
  await check("a new topic reaches the other side", async () => {
    await alice.setRoomTopic(room, "a new topic");
    await until(bob, () => content("m.room.topic")?.topic === "a new topic", "the topic");
  });
  await check("an avatar reaches the other side", async () => {
    await alice.sendStateEvent(room, "m.room.avatar", { url: "mxc://example.org/room" });
    await until(bob, () => content("m.room.avatar")?.url === "mxc://example.org/room", "the avatar");
    same(bob.getRoom(room).getMxcAvatarUrl(), "mxc://example.org/room", "avatar");
  });
  await check("without power bob changes no name and no power levels", async () => {
    await refused(bob.setRoomName(room, "bob's"), 403, "M_FORBIDDEN");
    const levels = await bob.getStateEvent(room, "m.room.power_levels", "");
    await refused(
      bob.sendStateEvent(room, "m.room.power_levels", { ...levels, users: { ...levels.users, [bobId]: 100 } }),
      403,
      "M_FORBIDDEN",
    );
  });
  await check("power given lets bob set the name", async () => {
    await alice.setPowerLevel(room, bobId, 50);
    await until(bob, () => bob.getRoom(room).getMember(bobId).powerLevel === 50, "the power level");
    await bob.setRoomName(room, "bob's room");
    await until(alice, () => alice.getRoom(room).name === "bob's room", "the name");
  });
  await check("bob cannot rise above himself", async () => {
    const levels = await bob.getStateEvent(room, "m.room.power_levels", "");
    levels.users[bobId] = 51;
    await refused(bob.sendStateEvent(room, "m.room.power_levels", levels), 403, "M_FORBIDDEN");
  });
  await check("state set twice to the same value is one event", async () => {
    const first = await alice.sendStateEvent(room, "m.room.topic", { topic: "steady" });
    const second = await alice.sendStateEvent(room, "m.room.topic", { topic: "steady" });
    same(second.event_id, first.event_id, "event id");
  });
  await check("a display name change reaches the rooms", async () => {
    await alice.setDisplayName("Alice II");
    await until(bob, () => bob.getRoom(room).getMember(aliceId)?.rawDisplayName === "Alice II", "the display name");
  });
  await check("full state has one event for each type and key", async () => {
    const events = await bob.roomState(room);
    const keys = events.map((e) => `${e.type}\u0000${e.state_key}`);
    same(new Set(keys).size, keys.length, "keys");
    same(events.find((e) => e.type === "m.room.name").content.name, "bob's room", "name");
  });
}
