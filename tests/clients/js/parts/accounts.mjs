// Register, log in, whoami, profile; leaves `alice` and `bob` syncing in the world.
import { check, need, refused, same, assert } from "../lib/report.mjs";
import { anonymous, login, raw, register, start, withSession } from "../lib/user.mjs";

export async function accounts(world) {
  const { url, tag } = world;
  world.passwords = { alice: `alice pässword ${tag}`, bob: `bob password ${tag}` };

  await check("versions lists a v1 version of the specification", async () => {
    const { versions } = await anonymous(url).getVersions();
    assert(versions.some((v) => /^v1\.\d+$/.test(v)), JSON.stringify(versions));
  });
  await check("a free user name is available", async () => {
    same(await anonymous(url).isUsernameAvailable(`alice-${tag}`), true, "available");
  });
  const a = await need("alice registers", () => register(url, `alice-${tag}`, world.passwords.alice));
  const b = await need("bob registers", () => register(url, `bob-${tag}`, world.passwords.bob));
  world.aliceId = a.user_id;
  world.bobId = b.user_id;
  await check("user ids carry the localpart", () => {
    assert(new RegExp(`^@alice-${tag}:.+$`).test(a.user_id), a.user_id);
  });
  await check("a taken user name is refused", () =>
    refused(anonymous(url).registerRequest({ username: `alice-${tag}`, password: "x" }), 400, "M_USER_IN_USE"),
  );
  await check("a user name with forbidden characters is refused", () =>
    refused(anonymous(url).registerRequest({ username: "Not Valid!", password: "x" }), 400, "M_INVALID_USERNAME"),
  );
  await check("login flows offer the password", async () => {
    const { flows } = await anonymous(url).loginFlows();
    assert(flows.some((f) => f.type === "m.login.password"), JSON.stringify(flows));
  });
  await check("a wrong password is refused", () =>
    refused(login(url, `alice-${tag}`, "wrong"), 403, "M_FORBIDDEN"),
  );
  const al = await need("alice logs in by localpart", () =>
    login(url, `alice-${tag}`, world.passwords.alice, { initial_device_display_name: "alice's desk" }),
  );
  const bl = await need("bob logs in by user id", () => login(url, b.user_id, world.passwords.bob));
  world.alice = withSession(url, al);
  world.bob = withSession(url, bl);
  world.alicePhone = withSession(url, a);
  await check("login makes a device of its own", () => {
    assert(al.device_id && al.device_id !== a.device_id, `${al.device_id} ${a.device_id}`);
    assert(al.access_token !== a.access_token, "same token twice");
  });
  await check("whoami names user and device", async () => {
    const who = await world.alice.whoami();
    same([who.user_id, who.device_id], [al.user_id, al.device_id], "whoami");
  });
  await check("devices lists both devices and the display name", async () => {
    const { devices } = await world.alice.getDevices();
    same(devices.map((d) => d.device_id).sort(), [a.device_id, al.device_id].sort(), "devices");
    same(devices.find((d) => d.device_id === al.device_id).display_name, "alice's desk", "name");
  });
  await need("both sync loops start", () => Promise.all([start(world.alice), start(world.bob)]));
  await check("display name and avatar are kept", async () => {
    await world.alice.setDisplayName("Alice Ω");
    await world.bob.setDisplayName("Bob");
    await world.alice.setAvatarUrl("mxc://example.org/alice");
    const profile = await world.bob.getProfileInfo(world.aliceId);
    same([profile.displayname, profile.avatar_url], ["Alice Ω", "mxc://example.org/alice"], "profile");
  });
  await check("nobody sets the display name of another", () =>
    refused(
      raw(world.bob, "PUT", `/profile/${encodeURIComponent(world.aliceId)}/displayname`, undefined, {
        displayname: "Mallory",
      }),
      [400, 403],
      "M_FORBIDDEN",
    ),
  );
  await check("account data comes back through sync", async () => {
    await world.alice.setAccountData("org.example.e2e", { tag });
    same(world.alice.getAccountData("org.example.e2e")?.getContent(), { tag }, "account data");
  });
}
