"""Typing, read receipts, the fully-read marker and unread counts."""

from report import check, ok, same


async def play(world):
    alice, bob, room = world.alice, world.bob, world.room

    async with check("typing starts and stops at the other side"):
        await ok(bob.nio.room_typing(room, True, 30000))
        await alice.until(lambda: bob.id in alice.typing.get(room, []), "typing")
        await ok(bob.nio.room_typing(room, False))
        await alice.until(lambda: bob.id not in alice.typing.get(room, []), "end of typing")
    async with check("an unread message is counted"):
        event_id = await alice.text(room, "psst")
        await bob.sees(event_id)
        await bob.until(lambda: bob.nio.rooms[room].unread_notifications > 0, "the unread count")
    async with check("a read receipt reaches the other side and clears the count"):
        await ok(bob.nio.update_receipt_marker(room, event_id))
        key = (room, bob.id, "m.read")
        await alice.until(lambda: alice.receipts.get(key) == event_id, "the receipt")
        await bob.until(lambda: bob.nio.rooms[room].unread_notifications == 0, "the cleared count")
    async with check("the fully-read marker comes back as account data"):
        await ok(bob.nio.room_read_markers(room, event_id, event_id))
        key = (room, "FullyReadEvent")
        await bob.until(lambda: key in bob.account_data, "the marker")
        same(bob.account_data[key].event_id, event_id, "marker")
