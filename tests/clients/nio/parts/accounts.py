"""Register, log in, whoami, profile; leaves `alice` and `bob` syncing in the world."""

from report import check, ok, refused, same, true
from user import User


async def play(world):
    tag = world.tag
    world.passwords = {"alice": f"alice pässword {tag}", "bob": f"bob password {tag}"}
    anonymous = User(world.url)
    world.alice_phone, world.alice, world.bob = User(world.url), User(world.url), User(world.url)

    async with check("registration needs no session with the dummy stage", need=True):
        phone = await ok(world.alice_phone.nio.register(f"nalice-{tag}", world.passwords["alice"], "phone"))
        first = await ok(User(world.url).nio.register(f"nbob-{tag}", world.passwords["bob"]))
        same(first.user_id.split(":")[0], f"@nbob-{tag}", "user id")
    async with check("a taken user name is refused"):
        await refused(anonymous.nio.register(f"nalice-{tag}", "another"), "M_USER_IN_USE", 400)
    async with check("login flows offer the password"):
        true("m.login.password" in (await ok(anonymous.nio.login_info())).flows, "no m.login.password")
    async with check("a wrong password is refused"):
        await refused(User(world.url, f"nalice-{tag}").nio.login("wrong"), "M_FORBIDDEN", 403)
    async with check("both log in with their passwords", need=True):
        world.alice.nio.user = phone.user_id
        await ok(world.alice.nio.login(world.passwords["alice"], "alice's desk"))
        world.bob.nio.user = f"nbob-{tag}"
        await ok(world.bob.nio.login(world.passwords["bob"]))
    async with check("login makes a device of its own"):
        true(world.alice.nio.device_id != phone.device_id, "the same device")
        true(world.alice.token != phone.access_token, "the same token")
    async with check("whoami names user and device"):
        who = await ok(world.alice.nio.whoami())
        same((who.user_id, who.device_id), (phone.user_id, world.alice.nio.device_id), "whoami")
    async with check("devices lists both devices"):
        devices = {d.id: d.display_name for d in (await ok(world.alice.nio.devices())).devices}
        same(devices, {phone.device_id: "phone", world.alice.nio.device_id: "alice's desk"}, "devices")
    async with check("both sync loops start", need=True):
        world.alice.start()
        world.bob.start()
        for user in (world.alice, world.bob):
            await user.until(lambda user=user: user.nio.next_batch, "the first sync")
    async with check("display name and avatar are kept"):
        await ok(world.alice.nio.set_displayname("Alice Ω"))
        await ok(world.bob.nio.set_displayname("Bob"))
        await ok(world.alice.nio.set_avatar("mxc://example.org/alice"))
        profile = await ok(world.bob.nio.get_profile(world.alice.id))
        same((profile.displayname, profile.avatar_url), ("Alice Ω", "mxc://example.org/alice"), "profile")
    async with check("a filter is stored"):
        stored = await ok(world.alice.nio.upload_filter(room={"timeline": {"limit": 5}}))
        status, body = await world.alice.raw(
            "GET", f"/_matrix/client/v3/user/{world.alice.id}/filter/{stored.filter_id}"
        )
        same((status, body["room"]["timeline"]["limit"]), (200, 5), "filter")
