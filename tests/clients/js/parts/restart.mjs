// The restart point: what was acknowledged before it must stand after it.
import { check, checkpoint, need, same, assert } from "../lib/report.mjs";
import { raw, sees } from "../lib/user.mjs";

export async function restart(world) {
  const { alice, bob, room, bobId } = world;
  const path = `/rooms/${encodeURIComponent(room)}`;
  const send = (client, txn, body) =>
    raw(client, "PUT", `${path}/send/m.room.message/${txn}`, undefined, { msgtype: "m.text", body });
  const sync = (since) => raw(bob, "GET", "/sync", since ? { since, timeout: 0 } : { timeout: 0 });

  const before = await need("a sync token is taken", async () => (await sync()).next_batch);
  const kept = [];
  await need("messages are acknowledged before the restart", async () => {
    for (let i = 0; i < 12; i += 1) {
      kept.push((await send(alice, `kept-${i}-${world.tag}`, `kept ${i}`)).event_id);
    }
  });
  const topic = await need("a state event is acknowledged last", () =>
    alice.sendStateEvent(room, "m.room.topic", { topic: "just before" }),
  );
  if (world.restarts) await checkpoint("restart");

  await check("the transaction ids still hold", async () => {
    for (let i = 0; i < kept.length; i += 1) {
      same((await send(alice, `kept-${i}-${world.tag}`, `kept ${i}`)).event_id, kept[i], `transaction ${i}`);
    }
  });
  await check("the tokens still hold, and their devices", async () => {
    for (const client of [alice, bob, world.alicePhone]) {
      const who = await client.whoami();
      same([who.user_id, who.device_id], [client.getUserId(), client.getDeviceId()], "whoami");
    }
  });
  await check("every acknowledged event can be read", async () => {
    for (const [i, id] of kept.entries()) {
      const event = await bob.fetchRoomEvent(room, id);
      same([event.event_id, event.content.body], [id, `kept ${i}`], "event");
    }
    same((await bob.getStateEvent(room, "m.room.topic", "")).topic, "just before", "topic");
  });
  await check("sync from the token of before tells each event once, in order", async () => {
    const answer = await sync(before);
    const { timeline } = answer.rooms.join[room];
    same(timeline.events.map((e) => e.event_id), [...kept, topic.event_id].slice(-timeline.events.length), "timeline");
    assert(timeline.limited || timeline.events.length === kept.length + 1, `${timeline.events.length} events`);
    const next = await sync(answer.next_batch);
    same(next.rooms?.join?.[room]?.timeline?.events ?? [], [], "events after the end");
  });
  await check("paging back still gives the whole history once", async () => {
    const seen = [];
    for (let from, page = 0; page < 60; page += 1) {
      const answer = await raw(alice, "GET", `${path}/messages`, { dir: "b", limit: 25, ...(from && { from }) });
      seen.push(...answer.chunk.map((e) => e.event_id));
      from = answer.end;
      if (!from) break;
    }
    same(new Set(seen).size, seen.length, "no event twice");
    const wanted = [...(world.sent ?? []), ...kept];
    same(seen.filter((id) => wanted.includes(id)), [...wanted].reverse(), "order");
  });
  await check("profile, membership, power and account data are kept", async () => {
    same((await bob.getProfileInfo(world.aliceId)).displayname, "Alice II", "display name");
    same(Object.keys((await alice.getJoinedRoomMembers(room)).joined).length, 2, "members");
    same((await alice.getStateEvent(room, "m.room.power_levels", "")).users[bobId], 50, "power");
    const data = `/user/${encodeURIComponent(world.aliceId)}/account_data/org.example.e2e`;
    same(await raw(alice, "GET", data), { tag: world.tag }, "account data");
  });
  await check("the running sync loops carry on both ways", async () => {
    const there = await alice.sendTextMessage(room, "still there?");
    same((await sees(bob, room, there.event_id)).getContent().body, "still there?", "body");
    const here = await bob.sendTextMessage(room, "still here");
    await sees(alice, room, here.event_id);
    // The SDK's stored filter names no limit (10 by default): a loop that lagged by more is told of a gap (`limited`), and
    // the SDK begins a new timeline. What is older can be paged back, as an earlier check does. Without a gap nothing may miss.
    const timelines = bob.getRoom(room).getUnfilteredTimelineSet().getTimelines();
    const ids = timelines.flatMap((timeline) => timeline.getEvents()).map((e) => e.getId());
    const told = ids.filter((id) => kept.includes(id));
    const gap = timelines.length > 1;
    same(told, gap ? kept.slice(kept.length - told.length) : kept, `the loop's ${timelines.length} timeline(s)`);
    same(new Set(ids).size, ids.length, "no event twice in the timeline");
  });
}
