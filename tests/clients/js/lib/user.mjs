// One user on one device: the SDK's client, its sync loop, and helpers to wait for what the loop brings.
import * as sdk from "matrix-js-sdk";
import { assert } from "./report.mjs";

const PATIENCE_MS = Number(process.env.E2E_PATIENCE_MS ?? 15000);

/** A client without a session. */
export function anonymous(url) {
  return sdk.createClient({ baseUrl: url });
}

/** A client for the session in a register or login answer. */
export function withSession(url, answer) {
  return sdk.createClient({
    baseUrl: url,
    userId: answer.user_id,
    accessToken: answer.access_token,
    deviceId: answer.device_id,
    timelineSupport: true,
  });
}

/** Registers through user-interactive authentication with the dummy stage, as an interactive client does. */
export async function register(url, username, password, extra = {}) {
  const client = anonymous(url);
  let session;
  try {
    const answer = await client.registerRequest({ username, password, ...extra });
    throw new Error(`registration without a stage was accepted for ${answer.user_id}`);
  } catch (error) {
    if (error.httpStatus !== 401) throw error;
    session = error.data.session;
    const flows = error.data.flows ?? [];
    assert(
      flows.some((f) => JSON.stringify(f.stages) === '["m.login.dummy"]'),
      `no dummy flow in ${JSON.stringify(flows)}`,
    );
  }
  return client.registerRequest({ username, password, auth: { type: "m.login.dummy", session }, ...extra });
}

/** Logs in with a password, by user id or localpart. */
export function login(url, user, password, extra = {}) {
  return anonymous(url).loginRequest({
    type: "m.login.password",
    identifier: { type: "m.id.user", user },
    password,
    ...extra,
  });
}

/** Starts the sync loop and waits until the first answer has been worked in. */
export async function start(client, options = {}) {
  await client.startClient({ initialSyncLimit: 20, pollTimeout: 20000, ...options });
  await until(client, () => client.isInitialSyncComplete(), "the first sync");
}

/** Waits until `condition()` gives something true, looking again whenever the sync loop brought something. */
export function until(client, condition, what, patience = PATIENCE_MS) {
  return new Promise((resolve, reject) => {
    const signals = [
      sdk.ClientEvent.Sync,
      sdk.ClientEvent.Event,
      sdk.RoomEvent.Timeline,
      sdk.RoomEvent.LocalEchoUpdated,
      sdk.RoomEvent.MyMembership,
      sdk.RoomStateEvent.Events,
      sdk.MatrixEventEvent.Replaced,
    ];
    const stop = () => {
      clearTimeout(timer);
      for (const s of signals) client.off(s, look);
    };
    const look = () => {
      let value;
      try {
        value = condition();
      } catch (error) {
        stop();
        reject(error);
        return;
      }
      if (value) {
        stop();
        resolve(value);
      }
    };
    const timer = setTimeout(() => {
      stop();
      reject(new Error(`${what}: not seen by ${client.getUserId()} within ${patience} ms`));
    }, patience);
    for (const s of signals) client.on(s, look);
    look();
  });
}

/** Waits for this event in the room's live timeline and gives the SDK's event. */
export function sees(client, roomId, eventId) {
  return until(client, () => client.getRoom(roomId)?.findEventById(eventId), `event ${eventId}`);
}

/** Waits until the client's own membership in the room is this one. */
export function membership(client, roomId, wanted) {
  return until(
    client,
    () => client.getRoom(roomId)?.getMyMembership() === wanted && client.getRoom(roomId),
    `own membership ${wanted} in ${roomId}`,
  );
}

/** A request with the client's token that bypasses the SDK's caches and local echo. */
export function raw(client, method, path, query, body) {
  return client.http.authedRequest(method, path, query, body, { prefix: "/_matrix/client/v3" });
}

export { sdk };
