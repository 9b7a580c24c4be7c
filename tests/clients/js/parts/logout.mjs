// Log out: one token dies, the others live; then all.
import { check, refused, same, assert } from "../lib/report.mjs";
import { login, raw, withSession } from "../lib/user.mjs";

export async function logout(world) {
  const { alice, alicePhone, url } = world;

  await check("after logout the token is unknown and the other device's holds", async () => {
    alice.stopClient();
    await alice.logout();
    const error = await refused(alice.whoami(), 401, "M_UNKNOWN_TOKEN");
    assert(!error.data.soft_logout, "a logout is not soft");
    same((await alicePhone.whoami()).user_id, world.aliceId, "the phone");
  });
  await check("the device of a logout is gone", async () => {
    const { devices } = await alicePhone.getDevices();
    same(devices.map((d) => d.device_id), [alicePhone.getDeviceId()], "devices");
  });
  await check("a new login reads the old rooms", async () => {
    const again = withSession(url, await login(url, world.aliceId, world.passwords.alice));
    const { joined_rooms } = await again.getJoinedRooms();
    assert(joined_rooms.includes(world.room), "the shared room is gone");
  });
  await check("logout of all ends every token", async () => {
    await raw(alicePhone, "POST", "/logout/all", undefined, {});
    await refused(alicePhone.whoami(), 401, "M_UNKNOWN_TOKEN");
  });
}
