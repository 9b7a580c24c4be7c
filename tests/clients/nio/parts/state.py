"""Topic, name, avatar and power levels, as state and at the other side."""

from report import check, ok, refused, same


async def play(world):
    alice, bob, room = world.alice, world.bob, world.room
    there = bob.nio.rooms[room]

    async with check("a new name reaches the other side"):
        await ok(alice.nio.room_put_state(room, "m.room.name", {"name": "renamed"}))
        await bob.until(lambda: there.name == "renamed", "the name")
    async with check("a new topic reaches the other side"):
        await ok(alice.nio.update_room_topic(room, "a new topic"))
        await bob.until(lambda: there.topic == "a new topic", "the topic")
    async with check("an avatar reaches the other side"):
        await ok(alice.nio.room_put_state(room, "m.room.avatar", {"url": "mxc://example.org/room"}))
        await bob.until(lambda: there.room_avatar_url == "mxc://example.org/room", "the avatar")
    async with check("without power bob changes no name and no power levels"):
        await refused(bob.nio.room_put_state(room, "m.room.name", {"name": "bob's"}), status=403)
        levels = await bob.state(room, "m.room.power_levels")
        levels.setdefault("users", {})[bob.id] = 100
        await refused(bob.nio.room_put_state(room, "m.room.power_levels", levels), status=403)
    async with check("power given lets bob set the name"):
        levels = await alice.state(room, "m.room.power_levels")
        levels.setdefault("users", {})[bob.id] = 50
        await ok(alice.nio.room_put_state(room, "m.room.power_levels", levels))
        await bob.until(lambda: there.power_levels.get_user_level(bob.id) == 50, "the power level")
        await ok(bob.nio.room_put_state(room, "m.room.name", {"name": "bob's room"}))
        await alice.until(lambda: alice.nio.rooms[room].name == "bob's room", "the name")
    async with check("state set twice to the same value is one event"):
        first = await ok(alice.nio.room_put_state(room, "m.room.topic", {"topic": "steady"}))
        second = await ok(alice.nio.room_put_state(room, "m.room.topic", {"topic": "steady"}))
        same(second.event_id, first.event_id, "event id")
    async with check("a display name change reaches the rooms"):
        await ok(alice.nio.set_displayname("Alice II"))
        await bob.until(lambda: there.user_name(alice.id) == "Alice II", "the display name")
    async with check("full state has one event for each type and key"):
        events = (await ok(bob.nio.room_get_state(room))).events
        keys = [(e["type"], e["state_key"]) for e in events]
        same(len(set(keys)), len(keys), "keys")
        same([e["content"]["name"] for e in events if e["type"] == "m.room.name"], ["bob's room"], "name")
