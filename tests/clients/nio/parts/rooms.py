"""Rooms: each preset, room versions 10, 11 and 12, and the default version."""

from nio import RoomPreset

from report import check, ok, refused, same, true

PRESETS = {
    RoomPreset.private_chat: ("invite", "shared", "can_join"),
    RoomPreset.trusted_private_chat: ("invite", "shared", "can_join"),
    RoomPreset.public_chat: ("public", "shared", None),
}


async def play(world):
    alice, bob = world.alice, world.bob

    for preset, (rule, history, guests) in PRESETS.items():
        async with check(f"preset {preset.value} sets join rules, history and guests"):
            room_id = (await ok(alice.nio.room_create(preset=preset, name=f"room {preset.value}"))).room_id
            await alice.joined(room_id)
            room = alice.nio.rooms[room_id]
            await alice.until(lambda room=room, preset=preset: room.name == f"room {preset.value}", "the name")
            same((room.join_rule, room.history_visibility), (rule, history), "rules")
            if guests:
                same(room.guest_access, guests, "guest access")
    for version in ("10", "11", "12"):
        async with check(f"a room of version {version} is made and joined"):
            made = await ok(alice.nio.room_create(preset=RoomPreset.public_chat, room_version=version))
            await ok(bob.nio.join(made.room_id))
            await bob.joined(made.room_id)
            same((await create_content(alice, made.room_id))["room_version"], version, "room_version")
            same(":" in made.room_id, version != "12", "room id with a domain")
            event_id = await bob.text(made.room_id, f"hello version {version}")
            await alice.sees(event_id)
    async with check("an unknown room version is refused"):
        await refused(alice.nio.room_create(room_version="no-such-version"), "M_UNSUPPORTED_ROOM_VERSION", 400)
    if world.default_version is not None:
        async with check(f"version {world.default_version} is the default"):
            made = await ok(alice.nio.room_create())
            same((await create_content(alice, made.room_id))["room_version"], world.default_version, "version")
    async with check("initial state, topic and power levels of room_create hold"):
        made = await ok(
            alice.nio.room_create(
                topic="first topic",
                federate=False,
                initial_state=[{"type": "org.example.state", "state_key": "key", "content": {"a": [1, None]}}],
                power_level_override={"events_default": 7},
            )
        )
        same(await alice.state(made.room_id, "org.example.state", "key"), {"a": [1, None]}, "state")
        same((await create_content(alice, made.room_id))["m.federate"], False, "federate")
        same((await alice.state(made.room_id, "m.room.power_levels"))["events_default"], 7, "power")
        same((await alice.state(made.room_id, "m.room.topic"))["topic"], "first topic", "topic")


async def create_content(user, room_id):
    events = (await ok(user.nio.room_get_state(room_id))).events
    found = [e["content"] for e in events if e["type"] == "m.room.create"]
    true(len(found) == 1, f"{len(found)} m.room.create in the state")
    return found[0]
