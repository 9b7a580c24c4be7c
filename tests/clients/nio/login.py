"""Logs one user in by a password and prints who they are, as one JSON line.

python login.py --url http://127.0.0.1:8008 --user alice --password secret
"""

import argparse
import asyncio
import json
import logging

from nio import AsyncClient
from report import ok


async def main():
    options = argparse.ArgumentParser()
    for name in ("--url", "--user", "--password"):
        options.add_argument(name, required=True)
    args = options.parse_args()
    logging.basicConfig(level=logging.CRITICAL)
    client = AsyncClient(args.url, args.user)
    try:
        flows = (await ok(client.login_info())).flows
        await ok(client.login(args.password, "nio"))
        whoami = await ok(client.whoami())
        profile = await ok(client.get_profile(whoami.user_id))
        await ok(client.sync(timeout=0))
        print(json.dumps({"user_id": whoami.user_id, "displayname": profile.displayname, "flows": flows}))
    finally:
        await client.close()


asyncio.run(main())
