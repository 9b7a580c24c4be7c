"""Plays the main job with two users against a running homeserver. See README.md beside the client folders.

python main.py --url http://127.0.0.1:8008 [--default-version 12 | --any-default-version] [--no-restart]
"""

import argparse
import asyncio
import logging
import time
import types

from parts import accounts, ephemeral, logout, membership, messages, restart, rooms, state
from report import check, finish


async def main():
    options = argparse.ArgumentParser()
    options.add_argument("--url", default="http://127.0.0.1:8008")
    options.add_argument("--default-version", default="12")
    options.add_argument("--any-default-version", action="store_true")
    options.add_argument("--no-restart", action="store_true")
    args = options.parse_args()
    logging.basicConfig(level=logging.CRITICAL)

    world = types.SimpleNamespace(
        url=args.url,
        default_version=None if args.any_default_version else args.default_version,
        restarts=not args.no_restart,
        tag=f"{time.time_ns() // 1000000:x}",
    )
    async with check("accounts", need=True):
        await accounts.play(world)
    for part in (rooms, membership, messages, state, ephemeral, restart, logout):
        async with check(f"part {part.__name__} ran to its end"):
            await part.play(world)
    finish()


asyncio.run(main())
