import assert from 'node:assert/strict';
import { test } from 'node:test';

import { CALLBACKS, ask, complaint } from '../src/antispam.js';

const config = { 'base-url': 'http://antispam.example.org/api/1/spam_check/', authorization: 'secret' };
const invite = { inviter: '@a:hs1', invitee: '@b:hs1', room_id: '!r:hs1' };
const silent = () => {};

function answering(status, body) {
  const asked = [];
  const post = (url, headers, text) => {
    asked.push({ url, headers: Object.fromEntries(headers), body: JSON.parse(text) });
    return { status, body };
  };
  return { asked, post };
}

test('a callback is posted to its path with the secret', () => {
  const { asked, post } = answering(200, '{}');
  assert.equal(ask(config, 'user_may_invite', invite, post, silent), undefined);
  assert.deepEqual(asked, [
    {
      url: 'http://antispam.example.org/api/1/spam_check/user_may_invite',
      headers: { 'content-type': 'application/json', authorization: 'Bearer secret' },
      body: invite,
    },
  ]);
});

test('no secret, no header', () => {
  const { asked, post } = answering(200, '');
  ask({ ...config, authorization: '' }, 'user_may_invite', invite, post, silent);
  assert.equal(asked[0].headers.authorization, undefined);
});

test('any other answer is a refusal in the words of the service', () => {
  const { post } = answering(400, '{"errcode": "ORG_EXAMPLE_SPAM", "error": "go away"}');
  assert.deepEqual(ask(config, 'user_may_invite', invite, post, silent), {
    status: 403,
    errcode: 'ORG_EXAMPLE_SPAM',
    error: 'go away',
  });
});

test('without a code it is M_FORBIDDEN', () => {
  const { post } = answering(403, '{}');
  assert.equal(ask(config, 'user_may_invite', invite, post, silent).errcode, 'M_FORBIDDEN');
});

test('a callback that is not enabled is not asked', () => {
  const { asked, post } = answering(403, '{}');
  const some = { ...config, callbacks: ['user_may_join_room'] };
  assert.equal(ask(some, 'user_may_invite', invite, post, silent), undefined);
  assert.equal(asked.length, 0);
});

for (const [what, post] of [
  ['a connection that fails', () => { throw new Error('unreachable'); }],
  ['an answer that is no JSON', () => ({ status: 502, body: '<html>' })],
]) {
  test(`${what} refuses, unless the callback fails open, and is logged`, () => {
    const logged = [];
    const warn = (message, fields) => logged.push({ message, ...fields });
    assert.equal(ask(config, 'user_may_invite', invite, post, warn).errcode, 'M_UNKNOWN');
    const open = { ...config, 'fail-open': ['user_may_invite'] };
    assert.equal(ask(open, 'user_may_invite', invite, post, warn), undefined);
    assert.equal(logged.length, 2);
    assert.equal(logged[0].callback, 'user_may_invite');
  });
}

test('a configuration that cannot work is refused', () => {
  assert.equal(complaint(config), undefined);
  assert.match(complaint({}), /base-url/);
  assert.match(complaint({ ...config, 'fail-open': ['nonsense'] }), /no callback nonsense/);
  assert.equal(complaint({ ...config, callbacks: CALLBACKS }), undefined);
});
