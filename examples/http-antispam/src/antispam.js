// The protocol of synapse-http-antispam, without anything of the host: what is asked, and what an answer means.

/** Every callback that can be asked, by its name in the protocol. */
export const CALLBACKS = [
  'check_event_for_spam',
  'check_login_for_spam',
  'federated_user_may_invite',
  'user_may_create_room',
  'user_may_create_room_alias',
  'user_may_invite',
  'user_may_join_room',
  'user_may_publish_room',
  'user_may_send_3pid_invite',
];

/** What is wrong with a configuration, or undefined. */
export function complaint(config) {
  if (!/^https?:\/\//.test(config['base-url'] ?? '')) return 'base-url must be an http or https URL';
  const named = [...(config.callbacks ?? []), ...(config['fail-open'] ?? [])];
  const unknown = named.find((name) => !CALLBACKS.includes(name));
  return unknown === undefined ? undefined : `no callback ${unknown}; there are: ${CALLBACKS.join(', ')}`;
}

/**
 * Asks the service about one thing.
 * `post(url, headers, body)` gives `{ status, body }` (text) or throws; `warn(message, fields)` writes to the log.
 * Gives undefined where nothing is said against it, else a refusal.
 */
export function ask(config, callback, body, post, warn) {
  if (config.callbacks && !config.callbacks.includes(callback)) return undefined;
  const open = (config['fail-open'] ?? []).includes(callback);
  const failed = (error, reason) => {
    warn(error, { callback, reason });
    return open ? undefined : refusal(error, 'M_UNKNOWN');
  };

  const headers = [['content-type', 'application/json']];
  if (config.authorization) headers.push(['authorization', `Bearer ${config.authorization}`]);
  let answer;
  try {
    answer = post(`${config['base-url'].replace(/\/+$/, '')}/${callback}`, headers, JSON.stringify(body));
  } catch (error) {
    return failed('The antispam service could not be asked', String(error?.message ?? error));
  }
  if (answer.status >= 200 && answer.status < 300) return undefined;
  let said;
  try {
    said = JSON.parse(answer.body);
  } catch {
    return failed('The antispam service gave no JSON', `status ${answer.status}`);
  }
  const errcode = typeof said?.errcode === 'string' ? said.errcode : 'M_FORBIDDEN';
  return refusal(typeof said?.error === 'string' ? said.error : 'Refused by the antispam service', errcode);
}

function refusal(error, errcode) {
  return { status: 403, errcode, error };
}
