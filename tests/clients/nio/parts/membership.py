"""Invite, join, leave, kick, ban, as both sides' sync loops see it. Leaves the shared room in the world."""

from nio import RoomPreset

from report import check, ok, refused, same, true


async def play(world):
    alice, bob = world.alice, world.bob
    async with check("alice makes the shared room", need=True):
        made = await ok(alice.nio.room_create(preset=RoomPreset.private_chat, name="shared", topic="talk"))
        world.room = room = made.room_id
        await alice.joined(room)

    def members():
        return set(alice.nio.rooms[room].users) - set(alice.nio.rooms[room].invited_users)

    async with check("a room by invitation refuses the uninvited"):
        await refused(bob.nio.join(room), status=403)
    async with check("an invitation arrives with the room's name and inviter"):
        await ok(alice.nio.room_invite(room, bob.id))
        seen = await bob.until(lambda: bob.nio.invited_rooms.get(room), "the invitation")
        same((seen.name, seen.inviter), ("shared", alice.id), "invitation")
    async with check("an invitation can be turned down"):
        await ok(bob.nio.room_leave(room))
        await bob.gone(room)
        await refused(bob.nio.join(room))
    async with check("a join reaches the other side"):
        await ok(alice.nio.room_invite(room, bob.id))
        await ok(bob.nio.join(room))
        await bob.joined(room)
        await alice.until(lambda: bob.id in members(), "bob's join")
    async with check("a leave reaches the other side, and a leaver sends no more"):
        await ok(bob.nio.room_leave(room))
        await bob.gone(room)
        await alice.until(lambda: bob.id not in alice.nio.rooms[room].users, "bob's leave")
        await refused(bob.nio.room_send(room, "m.room.message", {"msgtype": "m.text", "body": "outside"}))
    async with check("a kick puts the member out"):
        await bring(world)
        await ok(alice.nio.room_kick(room, bob.id, "enough"))
        await bob.gone(room)
        content = await alice.state(room, "m.room.member", bob.id)
        same((content["membership"], content["reason"]), ("leave", "enough"), "kick")
    async with check("a member without power kicks nobody"):
        await bring(world)
        await refused(bob.nio.room_kick(room, alice.id), status=403)
    async with check("a ban keeps out until it is lifted"):
        await ok(alice.nio.room_ban(room, bob.id, "spam"))
        await bob.gone(room)
        await refused(bob.nio.join(room), ("M_FORBIDDEN", "M_BAD_STATE"))
        await ok(alice.nio.room_unban(room, bob.id))
        await bring(world)
        await alice.until(lambda: bob.id in members(), "bob's return")
    async with check("joined members list both with display names"):
        joined = {m.user_id: m.display_name for m in (await ok(alice.nio.joined_members(room))).members}
        same(joined, {alice.id: "Alice Ω", bob.id: "Bob"}, "members")
    async with check("joined_rooms lists the room for both"):
        for user in (alice, bob):
            true(room in (await ok(user.nio.joined_rooms())).rooms, f"{user.id} is not in {room}")


async def bring(world):
    await ok(world.alice.nio.room_invite(world.room, world.bob.id))
    await ok(world.bob.nio.join(world.room))
    await world.bob.joined(world.room)
