-- What administrators say of users. `user_type`: null, `bot` or `support`; `rate_per_second`: messages, null: as everybody, 0: without a limit;
-- `cross_signing_until_ms`: until then their cross-signing keys may be replaced once without the password; `notices`: sends server notices.
ALTER TABLE accounts_users ADD COLUMN user_type text;
ALTER TABLE accounts_users ADD COLUMN rate_per_second bigint;
ALTER TABLE accounts_users ADD COLUMN rate_burst bigint;
ALTER TABLE accounts_users ADD COLUMN cross_signing_until_ms bigint NOT NULL DEFAULT 0;
ALTER TABLE accounts_users ADD COLUMN notices boolean NOT NULL DEFAULT FALSE;
CREATE INDEX accounts_users_created ON accounts_users (created_ms, user_id);
CREATE INDEX accounts_users_flags ON accounts_users (deactivated, locked, guest, admin);
CREATE INDEX accounts_users_admins ON accounts_users (user_id) WHERE admin = TRUE;

-- The administrator who acts as the user by this token; empty: the user. Such tokens have no device: theirs is empty.
ALTER TABLE accounts_tokens ADD COLUMN made_by text NOT NULL DEFAULT '';
CREATE INDEX accounts_tokens_made_by ON accounts_tokens (made_by) WHERE made_by <> '';

-- The room in which a user gets server notices.
CREATE TABLE accounts_server_notices (
  user_id text NOT NULL PRIMARY KEY,
  room_id text NOT NULL
);
CREATE VIEW accounts_v1_server_notices AS SELECT user_id, room_id FROM accounts_server_notices;

-- Notices sent under an id of the administrator's. `event_id`: empty until it is sent; `since_ms`: when that was begun;
-- `attempt_ms`: when the try that is under way was, 0: none is.
CREATE TABLE accounts_notices (
  sender text NOT NULL,
  txn_id text NOT NULL,
  since_ms bigint NOT NULL,
  attempt_ms bigint NOT NULL,
  event_id text NOT NULL,
  PRIMARY KEY (sender, txn_id)
);
CREATE INDEX accounts_notices_since ON accounts_notices (since_ms);
