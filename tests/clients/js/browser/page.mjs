// A small client: one room, encrypted, with its messages and pictures. The session comes in the fragment of the URL.
import * as sdk from "matrix-js-sdk";

const { url, user, token, device, room } = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
const client = sdk.createClient({ baseUrl: url, userId: user, accessToken: token, deviceId: device });
const shown = new Set();

/** A thumbnail as an object URL: it is served to those with a token only. */
async function thumbnail(mxc) {
  const http = client.mxcUrlToHttp(mxc, 120, 90, "scale", false, true, true);
  const answer = await fetch(http, { headers: { authorization: `Bearer ${token}` } });
  if (!answer.ok) throw new Error(`thumbnail: ${answer.status} ${await answer.text()}`);
  return URL.createObjectURL(await answer.blob());
}

async function show(event) {
  await client.decryptEventIfNeeded(event);
  if (event.getType() !== "m.room.message" || !event.getId()?.startsWith("$") || shown.has(event.getId())) return;
  shown.add(event.getId());
  const { msgtype, body, url: mxc } = event.getContent();
  const line = document.createElement("li");
  const name = document.createElement("b");
  name.textContent = event.getSender();
  line.append(name, body);
  document.querySelector("#timeline").append(line);
  if (msgtype === "m.image") {
    const picture = new Image();
    picture.alt = body;
    picture.src = await thumbnail(mxc);
    line.append(picture);
  }
}

const fail = (error) => {
  document.querySelector("#state").textContent = `error: ${error.message}`;
};

client.on(sdk.RoomEvent.Timeline, (event) => void show(event).catch(fail));
client.on(sdk.MatrixEventEvent.Decrypted, (event) => void show(event).catch(fail));
client.on(sdk.RoomEvent.LocalEchoUpdated, (event) => void show(event).catch(fail));

document.querySelector("#compose").addEventListener("submit", (submitted) => {
  submitted.preventDefault();
  const text = document.querySelector("#text");
  client.sendTextMessage(room, text.value).catch(fail);
  text.value = "";
});

document.querySelector("#file").addEventListener("change", async (changed) => {
  try {
    const [file] = changed.target.files;
    const { content_uri: mxc } = await client.uploadContent(file, { type: file.type, name: file.name });
    await client.sendMessage(room, { msgtype: "m.image", body: file.name, url: mxc, info: { mimetype: file.type } });
  } catch (error) {
    fail(error);
  }
});

try {
  await client.initRustCrypto();
  await client.startClient({ initialSyncLimit: 20 });
  await new Promise((resolve) => {
    client.on(sdk.ClientEvent.Sync, (state) => state === "PREPARED" && resolve());
  });
  document.querySelector("#room").textContent = client.getRoom(room)?.name ?? room;
  document.querySelector("#state").textContent = "ready";
} catch (error) {
  fail(error);
}
