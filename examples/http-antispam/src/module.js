// Hooks of the server in, callbacks of the protocol out.

import { get } from 'tessera:host/config@0.1.0';
import { send } from 'tessera:host/fetch@0.1.0';
import { write } from 'tessera:host/log@0.1.0';

import { ask, complaint } from './antispam.js';

let parsed;

/** The configuration; it is the same for the life of an instance. */
function config() {
  return (parsed ??= JSON.parse(get()));
}

function post(url, headers, body) {
  let response;
  try {
    response = send({
      method: 'POST',
      url,
      headers,
      body: { tag: 'bytes', val: new TextEncoder().encode(body) },
      timeoutMs: config()['timeout-ms'],
      maxBytes: 0n,
      connectTo: undefined,
      serverName: undefined,
      intoBlob: false,
    });
  } catch (error) {
    // What the host says: refused, invalid, timeout, unreachable or too-large, with its text.
    const said = error.payload;
    throw new Error(said?.tag ? [said.tag, said.val].filter(Boolean).join(': ') : String(error));
  }
  const bytes = response.body.tag === 'bytes' ? response.body.val : new Uint8Array();
  return { status: response.status, body: new TextDecoder().decode(bytes) };
}

function warn(message, fields) {
  write('warn', message, Object.entries(fields));
}

/** Throws the refusal, which is how an exported function gives an error. */
function check(callback, body) {
  const refusal = ask(config(), callback, body, post, warn);
  if (refusal) throw refusal;
}

/** As `check`, for hooks whose error has more cases. */
function checkOrRefuse(callback, body) {
  const refusal = ask(config(), callback, body, post, warn);
  if (refusal) throw { tag: 'refuse', val: refusal };
}

export const lifecycle = {
  start() {
    const wrong = complaint(config());
    if (wrong) throw wrong;
  },
};

export const eventPolicy = {
  checkEvent(event) {
    checkOrRefuse('check_event_for_spam', { event: JSON.parse(event) });
  },
};

export const accountPolicy = {
  // The protocol has no callback for it.
  checkRegistration() {},

  checkLogin(login, request) {
    check('check_login_for_spam', {
      user_id: login.user,
      device_id: login.device ?? null,
      initial_display_name: login.deviceName ?? null,
      request_info: [[request.userAgent, request.remote]],
      auth_provider_id: login.provider ?? null,
    });
  },
};

export const roomPolicy = {
  mayJoin(who, room, invited) {
    check('user_may_join_room', { user: who.user, room, is_invited: invited });
  },
  mayInvite(who, invitee, roomId) {
    check('user_may_invite', { inviter: who.user, invitee, room_id: roomId });
  },
  mayBeInvited(_invitee, event) {
    check('federated_user_may_invite', { event: JSON.parse(event) });
  },
  mayInviteThreepid(who, invitee, roomId) {
    const { medium, address } = invitee;
    check('user_may_send_3pid_invite', { inviter: who.user, medium, address, room_id: roomId });
  },
  mayCreateAlias(who, alias) {
    check('user_may_create_room_alias', { user_id: who.user, room_alias: alias });
  },
  mayPublish(who, roomId) {
    check('user_may_publish_room', { user_id: who.user, room_id: roomId });
  },
  // The protocol has no callback for it.
  maySendState() {},
};

export const roomRules = {
  createRoom(_request, who) {
    check('user_may_create_room', { user_id: who.user });
    return undefined;
  },
  threepidCanBeInvited() {},
  visibilityCanBeModified() {},
  canShutDown() {},
};
