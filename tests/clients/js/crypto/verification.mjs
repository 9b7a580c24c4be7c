import { check, same } from "../lib/report.mjs";
import { eventually, told } from "../lib/crypto.mjs";
import { membership, until } from "../lib/user.mjs";
import { CryptoEvent } from "matrix-js-sdk/lib/crypto-api/CryptoEvent.js";
import { VerificationPhase, VerificationRequestEvent, VerifierEvent } from "matrix-js-sdk/lib/crypto-api/verification.js";

/** Waits until a request is in this phase or past it. */
async function comesTo(request, phase) {
  if (request.phase >= phase) return;
  await told(request, VerificationRequestEvent.Change, () => request.phase >= phase, `verification phase ${phase}`);
}

/** Plays one side: shows the short authentication string and confirms it. */
async function compare(verifier, strings) {
  const shown = verifier.getShowSasCallbacks()
    ? Promise.resolve(verifier.getShowSasCallbacks())
    : told(verifier, VerifierEvent.ShowSas, (sas) => sas, "the short authentication string");
  const verified = verifier.verify();
  const sas = await shown;
  strings.push(JSON.stringify(sas.sas.decimal));
  await sas.confirm();
  await verified;
}

/** Alice and Bob verify each other by emoji, in a direct room. */
export async function verification(world) {
  const { alice, bob } = world;
  const { room_id: room } = await alice.client.createRoom({
    preset: "trusted_private_chat",
    is_direct: true,
    invite: [bob.id],
    initial_state: [{ type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } }],
  });
  world.room = room;
  await membership(bob.client, room, "invite");
  await bob.client.joinRoom(room);
  await membership(bob.client, room, "join");
  const there = () => alice.client.getRoom(room)?.getMember(bob.id)?.membership === "join";
  await until(alice.client, there, "Bob in the room");
  // Sync tells of the other's keys; they are asked for then.
  for (const [me, other] of [[alice, bob], [bob, alice]]) {
    await me.client.getCrypto().userHasCrossSigningKeys(other.id, true);
  }

  const asked = told(bob.client, CryptoEvent.VerificationRequestReceived, (request) => request, "the request");
  const hers = await alice.client.getCrypto().requestVerificationDM(bob.id, room);
  const his = await asked;
  await check("a verification request reaches the other", () => same(his.otherUserId, alice.id, "who asks"));
  await his.accept();
  await comesTo(hers, VerificationPhase.Ready);
  const strings = [];
  const starts = await hers.startVerification("m.sas.v1");
  const one = compare(starts, strings);
  await comesTo(his, VerificationPhase.Started);
  await until(bob.client, () => his.verifier, "Bob's verifier");
  await Promise.all([one, compare(his.verifier, strings)]);
  await check("both see the same string", () => same(strings[0], strings[1], "strings"));
  await Promise.all([hers, his].map((request) => comesTo(request, VerificationPhase.Done)));

  for (const [me, other] of [[alice, bob], [bob, alice]]) {
    const crypto = me.client.getCrypto();
    await check(`${me.user} trusts ${other.user}`, () =>
      eventually(async () => (await crypto.getUserVerificationStatus(other.id)).isCrossSigningVerified(), "verified"));
    await check(`${me.user} trusts the device of ${other.user} by it`, () =>
      eventually(async () => {
        const status = await crypto.getDeviceVerificationStatus(other.id, other.client.getDeviceId());
        return status?.crossSigningVerified;
      }, "the device is cross-signed"));
  }
}
