import { assert, check, same } from "../lib/report.mjs";
import { decrypted, person, reads } from "../lib/crypto.mjs";
import { membership, until } from "../lib/user.mjs";
import { say } from "./chat.mjs";

/** Somebody who is invited later is given the keys of what was said before (MSC4268). */
export async function history(world) {
  const { alice } = world;
  const { room_id: room } = await alice.client.createRoom({
    preset: "private_chat",
    initial_state: [
      { type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } },
      { type: "m.room.history_visibility", state_key: "", content: { history_visibility: "shared" } },
    ],
  });
  await until(alice.client, () => alice.client.getRoom(room)?.hasEncryptionStateEvent(), "the encrypted room");
  const before = await say(alice.client, room, "before you came");
  await reads(alice.client, room, before);

  const carol = await person(world, "carol");
  // Keys are shared with devices that their owner has signed.
  await carol.client.getCrypto().bootstrapCrossSigning({});
  await alice.client.getCrypto().userHasCrossSigningKeys(carol.id, true);
  await alice.client.invite(room, carol.id, { shareEncryptedHistory: true });
  await membership(carol.client, room, "invite");
  await carol.client.joinRoom(room, { acceptSharedHistory: true });
  await membership(carol.client, room, "join");
  await check("history is read by who came later", async () => {
    const timeline = carol.client.getRoom(room).getLiveTimeline();
    const found = () => timeline.getEvents().find((event) => event.getId() === before);
    while (!found() && (await carol.client.paginateEventTimeline(timeline, { backwards: true, limit: 30 })));
    assert(found(), "the message is not in her timeline");
    same((await decrypted(carol.client, found())).getContent().body, "before you came", "text");
  });
}
