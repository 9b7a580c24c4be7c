// Invite, join, leave, kick, ban, as both sides' sync loops see it. Leaves the shared room in the world.
import { assert, check, need, refused, same } from "../lib/report.mjs";
import { membership as own, raw, until } from "../lib/user.mjs";

export async function membership(world) {
  const { alice, bob, aliceId, bobId } = world;
  const { room_id: room } = await need("alice makes the shared room", () =>
    alice.createRoom({ preset: "private_chat", name: "shared", topic: "talk" }),
  );
  world.room = room;
  const aliceSees = (membershipOfBob) =>
    until(
      alice,
      () => alice.getRoom(room)?.getMember(bobId)?.membership === membershipOfBob,
      `bob's membership ${membershipOfBob}`,
    );

  await check("a room by invitation refuses the uninvited", () => refused(bob.joinRoom(room), 403, "M_FORBIDDEN"));
  await check("an invitation arrives with the room's name and inviter", async () => {
    await alice.invite(room, bobId);
    const seen = await own(bob, room, "invite");
    same(seen.name, "shared", "name");
    same(seen.getMember(bobId)?.events.member?.getSender(), aliceId, "inviter");
  });
  await check("an invitation can be turned down", async () => {
    await bob.leave(room);
    await own(bob, room, "leave");
    await aliceSees("leave");
    await refused(bob.joinRoom(room), 403, "M_FORBIDDEN");
  });
  await check("a join reaches the other side", async () => {
    await alice.invite(room, bobId);
    await own(bob, room, "invite");
    await bob.joinRoom(room);
    await own(bob, room, "join");
    await aliceSees("join");
  });
  await check("an invitation of a member is refused", () => refused(alice.invite(room, bobId), 403, "M_FORBIDDEN"));
  await check("a leave reaches the other side, and a leaver sends no more", async () => {
    await bob.leave(room);
    await own(bob, room, "leave");
    await aliceSees("leave");
    const path = `/rooms/${encodeURIComponent(room)}/send/m.room.message/outside-${world.tag}`;
    await refused(raw(bob, "PUT", path, undefined, { msgtype: "m.text", body: "from outside" }), 403, "M_FORBIDDEN");
  });
  await check("a kick puts the member out with its reason", async () => {
    await bring(world);
    await alice.kick(room, bobId, "enough");
    await own(bob, room, "leave");
    const event = bob.getRoom(room).getMember(bobId).events.member;
    same([event.getSender(), event.getContent().reason], [aliceId, "enough"], "kick");
  });
  await check("a member without power kicks nobody", async () => {
    await bring(world);
    await refused(bob.kick(room, aliceId), 403, "M_FORBIDDEN");
  });
  await check("a ban keeps out until it is lifted", async () => {
    await alice.ban(room, bobId, "spam");
    await own(bob, room, "ban");
    await aliceSees("ban");
    await refused(bob.joinRoom(room), 403, ["M_FORBIDDEN", "M_BAD_STATE"]);
    await refused(alice.invite(room, bobId), 403, ["M_FORBIDDEN", "M_BAD_STATE"]);
    await alice.unban(room, bobId);
    await aliceSees("leave");
    await bring(world);
    await aliceSees("join");
  });
  await check("joined members and members list both with display names", async () => {
    const { joined } = await alice.getJoinedRoomMembers(room);
    same(Object.keys(joined).sort(), [aliceId, bobId].sort(), "joined_members");
    same(joined[aliceId].display_name, "Alice Ω", "display name");
    const { chunk } = await bob.members(room, "join");
    same(chunk.map((e) => e.state_key).sort(), [aliceId, bobId].sort(), "members");
    assert(chunk.every((e) => e.content.membership === "join"), "a member that did not join");
  });
  await check("the SDK's room knows both members", async () => {
    await bob.getRoom(room).loadMembersIfNeeded();
    same(bob.getRoom(room).getJoinedMembers().map((m) => m.userId).sort(), [aliceId, bobId].sort(), "members");
    same(bob.getRoom(room).getMember(aliceId).name, "Alice Ω", "name");
  });
  await check("joined_rooms lists the room for both", async () => {
    for (const client of [alice, bob]) {
      const { joined_rooms } = await client.getJoinedRooms();
      assert(joined_rooms.includes(room), `${client.getUserId()} is not in ${room}`);
    }
  });
}

async function bring({ alice, bob, bobId, room }) {
  await alice.invite(room, bobId);
  await bob.joinRoom(room);
  await own(bob, room, "join");
}
