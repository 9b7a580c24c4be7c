import { assert, check, same } from "../lib/report.mjs";
import { another, eventually, reads } from "../lib/crypto.mjs";
import { raw } from "../lib/user.mjs";
import { say } from "./chat.mjs";

/** Alice's second device restores what the first one backed up, and takes part. */
export async function backup(world) {
  const { alice, bob, room } = world;
  await check("the first device has backed all its keys up", async () => {
    // Each by itself, when its turn comes: what is not there yet could not be restored.
    const keys = (await alice.client.getCrypto().exportRoomKeys()).length;
    await eventually(
      async () => (await raw(alice.client, "GET", "/room_keys/version")).count >= keys,
      `${keys} keys in the backup`,
    );
  });

  const third = await another(world, alice, true);
  const crypto = third.getCrypto();
  await check("a new device is signed with the keys in secret storage", async () => {
    // The secrets are held against the public keys, which must have been asked for.
    assert(await crypto.userHasCrossSigningKeys(alice.id, true), "no cross-signing keys");
    await crypto.bootstrapCrossSigning({});
    await eventually(async () => {
      const status = await crypto.getDeviceVerificationStatus(alice.id, third.getDeviceId());
      return status?.crossSigningVerified;
    }, "signed");
  });
  await check("a new device restores the backup", async () => {
    await crypto.loadSessionBackupPrivateKeyFromSecretStorage();
    const { imported, total } = await crypto.restoreKeyBackup();
    assert(imported > 0 && imported === total, `${imported} of ${total} keys`);
  });
  for (const [id, body] of world.said) {
    await check(`"${body}" is read on the new device`, async () => {
      const event = await third.fetchRoomEvent(room, id);
      const mapped = third.getEventMapper()(event);
      await third.decryptEventIfNeeded(mapped);
      same(mapped.getContent().body, body, "text");
    });
  }
  await check("what is said from now on reaches all three devices", async () => {
    const id = await say(bob.client, room, "are you on two devices");
    same((await reads(alice.client, room, id)).getContent().body, "are you on two devices", "first device");
    same((await reads(third, room, id)).getContent().body, "are you on two devices", "new device");
  });
  await check("a device that logs out is gone from the others' lists", async () => {
    const gone = third.getDeviceId();
    await third.logout(true);
    await eventually(async () => {
      const devices = await bob.client.getCrypto().getUserDeviceInfo([alice.id], true);
      return !devices.get(alice.id)?.has(gone);
    }, "the device is gone");
  });
}
