"""Text both ways, edit, reaction, reply, redaction, and paging back."""

from nio import MessageDirection, RedactedEvent

from report import check, ok, refused, same, true
from user import User


async def play(world):
    alice, bob, room, tag = world.alice, world.bob, world.room, world.tag

    async with check("a text from alice reaches bob", need=True):
        world.hello = hello = await alice.text(room, "hello bob ✓ 🦀")
        event = await bob.sees(hello)
        same((event.sender, event.body), (alice.id, "hello bob ✓ 🦀"), "event")
    async with check("a text from bob reaches alice"):
        event = await alice.sees(await bob.text(room, "hello alice"))
        same((event.sender, event.body), (bob.id, "hello alice"), "event")
    async with check("the sender's own event carries the transaction id"):
        event = await alice.sees(await alice.text(room, "echo", txn=f"echo-{tag}"))
        same(event.source["unsigned"].get("transaction_id"), f"echo-{tag}", "transaction id")
    async with check("nobody else sees the transaction id"):
        event = await bob.sees(await alice.text(room, "echo", txn=f"echo2-{tag}"))
        true("transaction_id" not in event.source.get("unsigned", {}), "leaked")
    async with check("an edit arrives with its new content and its target"):
        relation = {"rel_type": "m.replace", "event_id": hello}
        new = {"msgtype": "m.text", "body": "hello again"}
        edit = await alice.text(room, "* hello again", **{"m.new_content": new, "m.relates_to": relation})
        content = (await bob.sees(edit)).source["content"]
        same((content["m.new_content"], content["m.relates_to"]), (new, relation), "edit")
    async with check("a reaction arrives"):
        relation = {"rel_type": "m.annotation", "event_id": hello, "key": "👍"}
        sent = await ok(bob.nio.room_send(room, "m.reaction", {"m.relates_to": relation}))
        event = await alice.sees(sent.event_id)
        same((event.reacts_to, event.key), (hello, "👍"), "reaction")
    async with check("a reply points to its event"):
        reply = await bob.text(room, "a reply", **{"m.relates_to": {"m.in_reply_to": {"event_id": hello}}})
        content = (await alice.sees(reply)).source["content"]
        same(content["m.relates_to"]["m.in_reply_to"]["event_id"], hello, "reply")
    async with check("a redaction arrives and empties the event in the store"):
        secret = await bob.text(room, "a secret")
        await alice.sees(secret)
        redaction = (await ok(bob.nio.room_redact(room, secret, "slip"))).event_id
        same((await alice.sees(redaction)).redacts, secret, "redacts")
        stored = (await ok(alice.nio.room_get_event(room, secret))).event
        true(isinstance(stored, RedactedEvent), f"stored as {type(stored).__name__}")
        same(stored.source["content"], {}, "content")
    async with check("bob cannot redact alice's event"):
        await refused(bob.nio.room_redact(room, hello), status=403)
    await pagination(world)


async def pagination(world):
    alice, bob, room = world.alice, world.bob, world.room
    async with check("forty messages in a row are accepted", need=True):
        world.sent = [await (alice, bob)[i % 2].text(room, f"page {i}") for i in range(40)]
        await bob.sees(world.sent[-1])
    async with check("the sync loop gave every message once, in order"):
        seen = [e for r, e in bob.order if r == room and e in world.sent]
        same(seen, world.sent, "order")
    async with check("paging back by seven gives every message once, newest first"):
        seen = await history(bob, room, 7)
        same(len(set(seen)), len(seen), "no event twice")
        same([e for e in seen if e in world.sent], world.sent[::-1], "order")
        true(world.hello in seen, "the first message is missing")
    async with check("a limited first sync pages back from its prev_batch"):
        device = User(world.url)
        device.nio.restore_login(alice.id, world.alice_phone.nio.device_id, world.alice_phone.token)
        try:
            answer = await ok(device.nio.sync(timeout=0, sync_filter={"room": {"timeline": {"limit": 4}}}))
            timeline = answer.rooms.join[room].timeline
            same((timeline.limited, len(timeline.events)), (True, 4), "timeline")
            newest = [e.event_id for e in timeline.events]
            older = await history(device, room, 50, timeline.prev_batch)
            same([e for e in older[::-1] + newest if e in world.sent], world.sent, "order")
        finally:
            await device.nio.close()
    async with check("paging forward from a page's end gives the events after it, oldest first"):
        page = await ok(bob.nio.room_messages(room, None, limit=20))
        forward = await ok(bob.nio.room_messages(room, page.end, direction=MessageDirection.front, limit=20))
        same([e.event_id for e in forward.chunk], [e.event_id for e in page.chunk][::-1], "events")


async def history(user, room, limit, start=None):
    """Every event id of the room from `start` (default: the end) back, in pages of `limit`."""
    seen = []
    for _ in range(100):
        page = await ok(user.nio.room_messages(room, start, limit=limit))
        true(len(page.chunk) <= limit, f"{len(page.chunk)} events in a page of {limit}")
        seen += [e.event_id for e in page.chunk]
        start = page.end
        if not start:
            return seen
    true(False, "paging did not end after 100 pages")
