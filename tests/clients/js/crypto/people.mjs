import { assert, check } from "../lib/report.mjs";
import { authorize, person } from "../lib/crypto.mjs";

/** Two users with cross-signing keys, secret storage and a key backup. */
export async function people(world) {
  for (const name of ["alice", "bob"]) {
    const who = await person(world, name);
    world[name] = who;
    const crypto = who.client.getCrypto();
    await check(`${name}'s device keys are on the server`, async () => {
      const devices = await crypto.getUserDeviceInfo([who.id], true);
      assert(devices.get(who.id)?.has(who.client.getDeviceId()), "own device is not told");
    });
    await crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: authorize(who) });
    await crypto.bootstrapSecretStorage({
      setupNewSecretStorage: true,
      setupNewKeyBackup: true,
      createSecretStorageKey: () => crypto.createRecoveryKeyFromPassphrase(),
    });
    await check(`${name} is ready for cross-signing`, async () => {
      assert(await crypto.isCrossSigningReady(), "not ready");
      assert(await crypto.isSecretStorageReady(), "secret storage is not ready");
      assert((await crypto.getActiveSessionBackupVersion()) !== null, "no key backup");
    });
  }
}
