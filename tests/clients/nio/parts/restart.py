"""The restart point: what was acknowledged before it must stand after it."""

from parts.messages import history
from report import check, checkpoint, ok, same, true
from user import User


async def play(world):
    alice, bob, room, tag = world.alice, world.bob, world.room, world.tag
    reader = User(world.url)
    reader.nio.restore_login(bob.id, bob.nio.device_id, bob.token)

    async with check("a sync token is taken and messages are acknowledged", need=True):
        before = (await ok(reader.nio.sync(timeout=0))).next_batch
        kept = [await alice.text(room, f"kept {i}", txn=f"kept-{i}-{tag}") for i in range(12)]
        topic = (await ok(alice.nio.room_put_state(room, "m.room.topic", {"topic": "just before"}))).event_id
    if world.restarts:
        await checkpoint("restart")

    async with check("the transaction ids still hold"):
        again = [await alice.text(room, f"kept {i}", txn=f"kept-{i}-{tag}") for i in range(12)]
        same(again, kept, "event ids")
    async with check("the tokens still hold, and their devices"):
        for user in (alice, bob):
            who = await ok(user.nio.whoami())
            same((who.user_id, who.device_id), (user.id, user.nio.device_id), "whoami")
    async with check("every acknowledged event can be read"):
        for i, event_id in enumerate(kept):
            event = (await ok(bob.nio.room_get_event(room, event_id))).event
            same((event.event_id, event.body), (event_id, f"kept {i}"), "event")
        same((await bob.state(room, "m.room.topic"))["topic"], "just before", "topic")
    async with check("sync from the token of before tells each event once, in order"):
        answer = await ok(reader.nio.sync(timeout=0, since=before))
        timeline = answer.rooms.join[room].timeline
        seen = [e.event_id for e in timeline.events]
        same(seen, [*kept, topic][-len(seen):], "timeline")
        true(timeline.limited or len(seen) == len(kept) + 1, f"{len(seen)} events")
        rest = await ok(reader.nio.sync(timeout=0, since=answer.next_batch))
        joined = rest.rooms.join.get(room)
        same([e.event_id for e in joined.timeline.events] if joined else [], [], "events after the end")
    async with check("paging back still gives the whole history once"):
        seen = await history(alice, room, 25)
        same(len(set(seen)), len(seen), "no event twice")
        wanted = world.sent + kept
        same([e for e in seen if e in wanted], wanted[::-1], "order")
    async with check("profile, membership and power are kept"):
        same((await ok(bob.nio.get_displayname(alice.id))).displayname, "Alice II", "display name")
        same(len((await ok(alice.nio.joined_members(room))).members), 2, "members")
        same((await alice.state(room, "m.room.power_levels"))["users"][bob.id], 50, "power")
    async with check("the running sync loops carry on both ways"):
        same((await bob.sees(await alice.text(room, "still there?"))).body, "still there?", "body")
        await alice.sees(await bob.text(room, "still here"))
        # From the messages part on: a rejoin before it may repeat older events.
        order = [e for r, e in bob.order if r == room]
        order = order[order.index(world.sent[0]):]
        same([e for e in order if e in kept], kept, "the loop's own order")
        same(len(set(order)), len(order), "no event twice")
    await reader.nio.close()
