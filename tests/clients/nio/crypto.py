"""Two users with end-to-end encryption: they verify each other, chat, and send an encrypted file.

python crypto.py --url http://127.0.0.1:8008
"""

import argparse
import asyncio
import logging
import tempfile
import time
import types

from nio import (
    AsyncClient,
    AsyncClientConfig,
    RoomEncryptedFile,
    RoomMessageText,
)
from nio.crypto import decrypt_attachment
from report import check, finish, ok, same, true
from user import User


class Secret(User):
    """A user whose client encrypts; keys lie in a folder that goes with the run."""

    def __init__(self, url, folder):
        super().__init__(url)
        config = AsyncClientConfig(encryption_enabled=True, store_sync_tokens=False, max_timeouts=None, backoff_factor=0.05)
        self.nio = AsyncClient(url, store_path=folder, config=config)

    async def login(self, user, password):
        """Logs in, which also loads the key store."""
        self.nio.user = user
        await ok(self.nio.login(password))
        if self.nio.should_upload_keys:
            await ok(self.nio.keys_upload())

    async def knows(self, other):
        """Waits until the other's device keys are known. The sync loop asks for them only when its sync returns."""
        await self.until(lambda: other.id in self.nio.rooms.get(self.room).users, f"{other.id} in the room")
        if self.nio.should_query_keys:
            await ok(self.nio.keys_query())
        true(list(self.nio.device_store.active_user_devices(other.id)), f"no devices of {other.id}")

    def device_of(self, other):
        return self.nio.device_store[other.id][other.nio.device_id]


async def people(world):
    for name in ("alice", "bob"):
        user, password = f"n{name}-crypto-{world.tag}", f"{name} password"
        await ok(User(world.url).nio.register(user, password))
        who = Secret(world.url, world.folder)
        await who.login(user, password)
        who.start()
        await who.until(lambda who=who: who.nio.next_batch, "the first sync")
        setattr(world, name, who)


async def room(world):
    alice, bob = world.alice, world.bob
    encryption = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
    world.room = (await ok(alice.nio.room_create(invite=[bob.id], initial_state=[encryption]))).room_id
    await bob.until(lambda: bob.membership.get(world.room) == "invite", "the invite")
    await ok(bob.nio.join(world.room))
    for who in (alice, bob):
        await who.joined(world.room)
        await who.until(lambda who=who: who.nio.rooms[world.room].encrypted, "an encrypted room")
        who.room = world.room
    await alice.knows(bob)
    await bob.knows(alice)


async def verification(world):
    """By short authentication string, over to-device messages. Alice begins."""
    alice, bob = world.alice, world.bob
    await ok(alice.nio.start_key_verification(alice.device_of(bob)))
    sas = await bob.until(lambda: next(iter(bob.nio.key_verifications.values()), None), "the verification's start")
    await ok(bob.nio.accept_key_verification(sas.transaction_id))
    hers = alice.nio.key_verifications[sas.transaction_id]
    # The sync loops exchange keys by themselves.
    await bob.until(lambda: sas.established_sas, "Alice's key")
    await alice.until(lambda: hers.established_sas, "Bob's key")
    async with check("both see the same emoji"):
        same(hers.get_emoji(), sas.get_emoji(), "emoji")
    for who in (alice, bob):
        await ok(who.nio.confirm_short_auth_string(sas.transaction_id))
    for who, other, state in ((alice, bob, hers), (bob, alice, sas)):
        async with check(f"{who.id} trusts {other.id}"):
            await who.until(lambda state=state: state.verified, "a verified device")
            true(who.device_of(other).verified, "not trusted")


async def chat(world):
    alice, bob = world.alice, world.bob
    for sender, reader, body in ((alice, bob, "psst"), (bob, alice, "what"), (alice, bob, "nothing")):
        async with check(f"{body!r} is read by {reader.id}"):
            event_id = await sender.text(world.room, body)
            event = await reader.sees(event_id)
            true(isinstance(event, RoomMessageText), f"not decrypted: {event}")
            same(event.body, body, "text")
            true(event.decrypted and event.verified, "not from a verified device")
    async with check("the server has only the encrypted form"):
        status, body = await bob.raw("GET", f"/_matrix/client/v3/rooms/{world.room}/event/{event_id}")
        same((status, body["type"]), (200, "m.room.encrypted"), "event")
        true("nothing" not in str(body["content"]), "the text is readable")


async def files(world):
    alice, bob = world.alice, world.bob
    secret = b"\x00\x01 a file that nobody else reads " * 1000

    async with check("an encrypted file comes back whole"):
        uploaded, keys = await alice.nio.upload(
            lambda *_: secret, content_type="application/octet-stream", encrypt=True, filesize=len(secret)
        )
        true(hasattr(uploaded, "content_uri"), uploaded)
        content = {"msgtype": "m.file", "body": "secret.bin", "file": {"url": uploaded.content_uri, **keys}}
        sent = await ok(alice.nio.room_send(world.room, "m.room.message", content))
        event = await bob.sees(sent.event_id)
        true(isinstance(event, RoomEncryptedFile), f"not decrypted: {event}")
        loaded = await ok(bob.nio.download(event.url))
        true(loaded.body != secret, "the server has the file as it is")
        plain = decrypt_attachment(loaded.body, event.key["k"], event.hashes["sha256"], event.iv)
        same(plain, secret, "the file")


async def main():
    options = argparse.ArgumentParser()
    options.add_argument("--url", default="http://127.0.0.1:8008")
    args = options.parse_args()
    logging.basicConfig(level=logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        world = types.SimpleNamespace(url=args.url, tag=f"{time.time_ns() // 1000000:x}", folder=folder)
        for part in (people, room, verification):
            async with check(f"part {part.__name__}", need=True):
                await part(world)
        for part in (chat, files):
            async with check(f"part {part.__name__}"):
                await part(world)
        finish()


asyncio.run(main())
