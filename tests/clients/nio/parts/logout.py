"""Log out: one token dies, the others live; then all."""

from report import check, ok, refused, same, true
from user import User


async def play(world):
    alice, bob, phone = world.alice, world.bob, world.alice_phone
    user_id = alice.id

    async with check("after logout the token is unknown and the other device's holds"):
        token, device = alice.token, alice.nio.device_id
        await ok(alice.nio.logout())
        await alice.stop()
        dead = User(world.url)
        dead.nio.restore_login(user_id, device, token)
        answer = await refused(dead.nio.whoami(), "M_UNKNOWN_TOKEN", 401)
        same(answer.soft_logout, False, "soft_logout")
        same((await ok(phone.nio.whoami())).user_id, user_id, "the phone")
        await dead.nio.close()
    async with check("a new login reads the old rooms"):
        again = User(world.url, user_id)
        await ok(again.nio.login(world.passwords["alice"]))
        true(world.room in (await ok(again.nio.joined_rooms())).rooms, "the shared room is gone")
        await again.nio.close()
    async with check("logout of all ends every token"):
        status, _ = await phone.raw("POST", "/_matrix/client/v3/logout/all", {})
        same(status, 200, "status")
        status, body = await phone.raw("GET", "/_matrix/client/v3/account/whoami")
        same((status, body["errcode"]), (401, "M_UNKNOWN_TOKEN"), "after")
    await bob.stop()
    await phone.nio.close()
