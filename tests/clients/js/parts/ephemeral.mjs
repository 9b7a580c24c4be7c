// Typing, read receipts, the fully-read marker and unread counts.
import { check, refused, same } from "../lib/report.mjs";
import { sdk, sees, until } from "../lib/user.mjs";

export async function ephemeral(world) {
  const { alice, bob, room, aliceId, bobId } = world;
  const typing = () => alice.getRoom(room).getMember(bobId).typing;

  await check("typing starts and stops at the other side", async () => {
    await bob.sendTyping(room, true, 30000);
    await until(alice, () => typing(), "typing");
    await bob.sendTyping(room, false, 0);
    await until(alice, () => !typing(), "end of typing");
  });
  await check("typing ends by itself after its time", async () => {
    await bob.sendTyping(room, true, 500);
    await until(alice, () => typing(), "typing");
    await until(alice, () => !typing(), "end of typing");
  });
  await check("nobody types for another", () =>
    refused(
      alice.http.authedRequest(
        "PUT",
        `/rooms/${encodeURIComponent(room)}/typing/${encodeURIComponent(bobId)}`,
        undefined,
        { typing: true, timeout: 1000 },
        { prefix: "/_matrix/client/v3" },
      ),
      [400, 403],
      "M_FORBIDDEN",
    ),
  );
  let event;
  await check("an unread message is counted and a mention highlights", async () => {
    const { event_id } = await alice.sendMessage(room, {
      msgtype: "m.text",
      body: `psst ${bobId}`,
      "m.mentions": { user_ids: [bobId] },
    });
    event = await sees(bob, room, event_id);
    const unread = (kind) => bob.getRoom(room).getRoomUnreadNotificationCount(kind);
    await until(bob, () => unread(sdk.NotificationCountType.Total) > 0, "the unread count");
    await until(bob, () => unread(sdk.NotificationCountType.Highlight) > 0, "the highlight");
  });
  await check("a read receipt reaches the other side and clears the count", async () => {
    await bob.sendReadReceipt(event);
    await until(alice, () => alice.getRoom(room).getEventReadUpTo(bobId, true) === event.getId(), "the receipt");
    const total = () => bob.getRoom(room).getRoomUnreadNotificationCount(sdk.NotificationCountType.Total);
    await until(bob, () => total() === 0, "the cleared count");
  });
  await check("a private receipt stays private", async () => {
    const { event_id } = await bob.sendTextMessage(room, "only for me");
    const mine = await sees(bob, room, event_id);
    const { event_id: answer } = await alice.sendTextMessage(room, "an answer");
    const theirs = await sees(bob, room, answer);
    await bob.sendReceipt(theirs, sdk.ReceiptType.ReadPrivate, {});
    const { event_id: after } = await bob.sendTextMessage(room, "later");
    await sees(alice, room, after);
    const known = alice.getRoom(room).getReceiptsForEvent(alice.getRoom(room).findEventById(answer));
    same(known.filter((r) => r.userId === bobId && r.type === "m.read.private").length, 0, "leaked receipts");
    void mine;
  });
  await check("the fully-read marker comes back as account data", async () => {
    await bob.setRoomReadMarkers(room, event.getId(), event);
    const marker = () => bob.getRoom(room).getAccountData("m.fully_read")?.getContent().event_id;
    await until(bob, () => marker() === event.getId(), "the marker");
  });
  await check("a room tag comes back through sync", async () => {
    await alice.setRoomTag(room, "m.favourite", { order: 0.5 });
    await until(alice, () => alice.getRoom(room).tags["m.favourite"], "the tag");
  });
  void aliceId;
}
