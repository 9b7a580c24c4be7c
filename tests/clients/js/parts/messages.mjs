// Text both ways, edit, reaction, reply, redaction, and paging back.
import { check, need, refused, same, assert } from "../lib/report.mjs";
import { raw, sdk, sees, start, until, withSession } from "../lib/user.mjs";

export async function messages(world) {
  const { alice, bob, room, aliceId, bobId, tag } = world;

  const hello = await need("a text from alice reaches bob", async () => {
    const { event_id } = await alice.sendTextMessage(room, "hello bob ✓ \u{1F980}");
    const event = await sees(bob, room, event_id);
    same([event.getSender(), event.getContent().body], [aliceId, "hello bob ✓ \u{1F980}"], "event");
    return event_id;
  });
  world.hello = hello;
  await check("a text from bob reaches alice", async () => {
    const { event_id } = await bob.sendTextMessage(room, "hello alice");
    same((await sees(alice, room, event_id)).getSender(), bobId, "sender");
  });
  await check("the sender's own echo carries the transaction id", async () => {
    const txn = `echo-${tag}`;
    const { event_id } = await alice.sendTextMessage(room, "echo", txn);
    const event = await until(
      alice,
      () => alice.getRoom(room).getLiveTimeline().getEvents().find((e) => e.getId() === event_id && !e.status),
      "the echo",
    );
    same(event.getUnsigned().transaction_id, txn, "transaction id");
    const twice = alice.getRoom(room).getLiveTimeline().getEvents().filter((e) => e.getContent().body === "echo");
    same(twice.length, 1, "echoes");
  });
  await check("an edit replaces the text at the reader", async () => {
    await alice.sendEvent(room, "m.room.message", {
      msgtype: "m.text",
      body: "* hello again",
      "m.new_content": { msgtype: "m.text", body: "hello again" },
      "m.relates_to": { rel_type: "m.replace", event_id: hello },
    });
    const event = bob.getRoom(room).findEventById(hello);
    await until(bob, () => event.replacingEvent(), "the edit");
    same(event.getContent().body, "hello again", "edited body");
  });
  await check("a reaction is counted at the other side", async () => {
    await bob.sendEvent(room, "m.reaction", {
      "m.relates_to": { rel_type: "m.annotation", event_id: hello, key: "👍" },
    });
    const relations = () =>
      alice.getRoom(room).relations.getChildEventsForEvent(hello, "m.annotation", "m.reaction");
    await until(alice, () => relations()?.getSortedAnnotationsByKey()?.length, "the reaction");
    const [[key, events]] = relations().getSortedAnnotationsByKey();
    same([key, [...events].map((e) => e.getSender())], ["👍", [bobId]], "annotation");
  });
  await check("a reply points to its event", async () => {
    const { event_id } = await bob.sendMessage(room, {
      msgtype: "m.text",
      body: "a reply",
      "m.relates_to": { "m.in_reply_to": { event_id: hello } },
    });
    same((await sees(alice, room, event_id)).replyEventId, hello, "reply");
  });
  await check("a redaction empties the event at both sides and in the store", async () => {
    const { event_id } = await bob.sendTextMessage(room, "a secret");
    await sees(alice, room, event_id);
    await bob.redactEvent(room, event_id, undefined, { reason: "slip" });
    await until(alice, () => alice.getRoom(room).findEventById(event_id).isRedacted(), "the redaction");
    const stored = await alice.fetchRoomEvent(room, event_id);
    same(stored.content, {}, "stored content");
    assert(stored.unsigned?.redacted_because, "no redacted_because");
  });
  await check("bob cannot redact alice's event", () => refused(bob.redactEvent(room, hello), 403, "M_FORBIDDEN"));
  await check("a stranger's event id is not found", () =>
    refused(alice.fetchRoomEvent(room, "$no-such-event-in-this-room-AAAAAAAAAAAAAAAAAA"), 404, "M_NOT_FOUND"),
  );
  await pagination(world);
}

async function pagination(world) {
  const { alice, bob, room } = world;
  const sent = [];
  await need("forty messages in a row are accepted", async () => {
    for (let i = 0; i < 40; i += 1) {
      const sender = i % 2 ? bob : alice;
      const body = { msgtype: "m.text", body: `page ${i}` };
      const path = `/rooms/${encodeURIComponent(room)}/send/m.room.message/page-${i}-${world.tag}`;
      sent.push((await raw(sender, "PUT", path, undefined, body)).event_id);
    }
    await sees(bob, room, sent.at(-1));
  });
  world.sent = sent;
  await check("paging back by seven gives every message once, newest first", async () => {
    const seen = [];
    let from = null;
    for (let page = 0; page < 60; page += 1) {
      const answer = await bob.createMessagesRequest(room, from, 7, sdk.Direction.Backward);
      assert(answer.chunk.length <= 7, `${answer.chunk.length} events in a page of 7`);
      seen.push(...answer.chunk.map((e) => e.event_id));
      if (!answer.end) break;
      from = answer.end;
    }
    same(new Set(seen).size, seen.length, "no event twice");
    same(seen.filter((id) => sent.includes(id)), [...sent].reverse(), "order");
    assert(seen.includes(world.hello), "the first message is missing");
  });
  await check("a new device with a short first sync scrolls back to the start", async () => {
    const device = withSession(world.url, {
      user_id: world.aliceId,
      access_token: world.alicePhone.getAccessToken(),
      device_id: world.alicePhone.getDeviceId(),
    });
    await start(device, { initialSyncLimit: 4, lazyLoadMembers: true });
    try {
      const seen = await until(device, () => device.getRoom(room), "the room");
      assert(seen.getLiveTimeline().getEvents().length <= 4 + 1, "the first sync was not limited");
      for (let i = 0; i < 30 && seen.getLiveTimeline().getEvents()[0].getType() !== "m.room.create"; i += 1) {
        await device.scrollback(seen, 10);
      }
      const events = seen.getLiveTimeline().getEvents();
      same(events[0].getType(), "m.room.create", "first event");
      const ids = events.map((e) => e.getId());
      same(ids.filter((id) => sent.includes(id)), sent, "order");
    } finally {
      device.stopClient();
    }
  });
}
