// One user on one device with the SDK's Rust crypto, its keys in memory.
import { sdk, login, register, start, until } from "./user.mjs";

/** A started client with crypto; `secrets` is the user's secret storage key, shared by their devices (`{ key }`). */
async function device(world, answer, secrets) {
  const client = sdk.createClient({
    baseUrl: world.url,
    userId: answer.user_id,
    accessToken: answer.access_token,
    deviceId: answer.device_id,
    timelineSupport: true,
    verificationMethods: ["m.sas.v1"],
    cryptoCallbacks: {
      getSecretStorageKey: async ({ keys }) => {
        const [id] = Object.keys(keys);
        return secrets.key ? [id, secrets.key] : null;
      },
      cacheSecretStorageKey: (_id, _info, key) => {
        secrets.key = key;
      },
    },
  });
  await client.initRustCrypto({ useIndexedDB: false });
  world.clients.push(client);
  await start(client);
  return client;
}

/** A new user, on a first device. */
export async function person(world, name) {
  const user = `${name}-${world.tag}`;
  const password = `${name}'s password`;
  const secrets = {};
  const answer = await register(world.url, user, password);
  const client = await device(world, answer, secrets);
  return { user, password, secrets, client, id: answer.user_id };
}

/** Another device of theirs. `knows`: it is given the secret storage key, as a person would type the recovery key. */
export async function another(world, who, knows) {
  const answer = await login(world.url, who.user, who.password);
  return device(world, answer, knows ? { key: who.secrets.key } : {});
}

/** What user-interactive authentication wants: the password, once it is asked for. */
export function authorize(who) {
  return async (request) => {
    try {
      return await request(null);
    } catch (error) {
      if (error.httpStatus !== 401) throw error;
      return request({
        type: "m.login.password",
        identifier: { type: "m.id.user", user: who.id },
        password: who.password,
        session: error.data.session,
      });
    }
  };
}

/** Waits for an event and its plain text. */
export async function reads(client, roomId, eventId) {
  const event = await until(client, () => client.getRoom(roomId)?.findEventById(eventId), `event ${eventId}`);
  return decrypted(client, event);
}

/** Waits until an event is decrypted, and gives it. */
export async function decrypted(client, event) {
  const patience = Number(process.env.E2E_PATIENCE_MS ?? 15000);
  const over = Date.now() + patience;
  while (event.isBeingDecrypted() || event.isDecryptionFailure() || event.getType() === "m.room.encrypted") {
    const left = over - Date.now();
    if (left <= 0) {
      throw new Error(`${event.getId()} is not decrypted for ${client.getUserId()}: ${event.decryptionFailureReason}`);
    }
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, left);
      event.once(sdk.MatrixEventEvent.Decrypted, () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
  return event;
}

/** Looks again and again until `condition` gives something true: for what no event tells. */
export async function eventually(condition, what) {
  const patience = Number(process.env.E2E_PATIENCE_MS ?? 15000);
  const over = Date.now() + patience;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > over) throw new Error(`${what}: not so within ${patience} ms`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Waits for something that an emitter tells. */
export function told(emitter, name, fits, what) {
  const patience = Number(process.env.E2E_PATIENCE_MS ?? 15000);
  return new Promise((resolve, reject) => {
    const done = (act, value) => {
      clearTimeout(timer);
      emitter.off(name, listen);
      act(value);
    };
    const listen = (...args) => {
      const value = fits(...args);
      if (value) done(resolve, value);
    };
    const timer = setTimeout(() => done(reject, new Error(`${what}: not told within ${patience} ms`)), patience);
    emitter.on(name, listen);
  });
}
