import { assert, check, same } from "../lib/report.mjs";
import { reads } from "../lib/crypto.mjs";
import { raw } from "../lib/user.mjs";

/** Sends a text and gives its event id. */
export async function say(client, room, body) {
  return (await client.sendTextMessage(room, body)).event_id;
}

/** They chat; the server sees nothing of it. */
export async function chat(world) {
  const { alice, bob, room } = world;
  world.said = [];
  for (const [from, to, body] of [
    [alice, bob, "how secret is this"],
    [bob, alice, "very"],
    [alice, bob, "good"],
  ]) {
    const id = await say(from.client, room, body);
    world.said.push([id, body]);
    await check(`"${body}" is read by ${to.user}`, async () => {
      const event = await reads(to.client, room, id);
      same(event.getContent().body, body, "text");
      const info = await to.client.getCrypto().getEncryptionInfoForEvent(event);
      same(info?.shieldColour, 0, "shield: from a verified device");
    });
  }
  await check("the server has only the encrypted form", async () => {
    const [[id, body]] = world.said;
    const event = await raw(bob.client, "GET", `/rooms/${room}/event/${id}`);
    same(event.type, "m.room.encrypted", "type");
    assert(!JSON.stringify(event).includes(body), "the text is readable");
  });
}
