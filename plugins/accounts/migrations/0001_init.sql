-- Local users. `revision` is the guard of whatever rests on password or deactivation.
CREATE TABLE accounts_users (
  user_id text NOT NULL PRIMARY KEY,
  password_hash text,
  created_ms bigint NOT NULL,
  deactivated boolean NOT NULL,
  guest boolean NOT NULL,
  admin boolean NOT NULL,
  displayname text,
  avatar_url text,
  revision bigint NOT NULL
);

-- Profile fields beside display name and avatar; `value` is JSON.
CREATE TABLE accounts_profile_fields (
  user_id text NOT NULL,
  name text NOT NULL,
  value text NOT NULL,
  PRIMARY KEY (user_id, name)
);

CREATE TABLE accounts_devices (
  user_id text NOT NULL,
  device_id text NOT NULL,
  display_name text,
  position bigint NOT NULL,
  last_seen_ms bigint NOT NULL,
  last_seen_ip text NOT NULL,
  PRIMARY KEY (user_id, device_id)
);

-- Access tokens, by hash. `replaces`: hash of the refresh token that it makes void when first used.
CREATE TABLE accounts_tokens (
  hash text NOT NULL PRIMARY KEY,
  user_id text NOT NULL,
  device_id text NOT NULL,
  expires_ms bigint,
  replaces text
);
CREATE INDEX accounts_tokens_device ON accounts_tokens (user_id, device_id);

-- Refresh tokens, by hash. `replaces` as above.
CREATE TABLE accounts_refresh_tokens (
  hash text NOT NULL PRIMARY KEY,
  user_id text NOT NULL,
  device_id text NOT NULL,
  replaces text
);
CREATE INDEX accounts_refresh_tokens_device ON accounts_refresh_tokens (user_id, device_id);

-- `room_id` is empty for global account data; `size`: bytes of `content`, for the cap on all of a user's.
CREATE TABLE accounts_account_data (
  user_id text NOT NULL,
  room_id text NOT NULL,
  type text NOT NULL,
  content text NOT NULL,
  size bigint NOT NULL DEFAULT 0,
  position bigint NOT NULL,
  PRIMARY KEY (user_id, room_id, type)
);
CREATE INDEX accounts_account_data_position ON accounts_account_data (user_id, position);
CREATE INDEX accounts_account_data_size ON accounts_account_data (user_id, size);

CREATE TABLE accounts_filters (
  user_id text NOT NULL,
  filter_id text NOT NULL,
  json text NOT NULL,
  PRIMARY KEY (user_id, filter_id)
);

-- User-interactive authentication in progress; `scope` is the route that asked.
CREATE TABLE accounts_uia (
  session text NOT NULL PRIMARY KEY,
  scope text NOT NULL,
  created_ms bigint NOT NULL
);
CREATE INDEX accounts_uia_created ON accounts_uia (created_ms);

-- Tokens that tell a third party who a user is.
CREATE TABLE accounts_openid (
  hash text NOT NULL PRIMARY KEY,
  user_id text NOT NULL,
  expires_ms bigint NOT NULL
);
CREATE INDEX accounts_openid_expires ON accounts_openid (expires_ms);

CREATE VIEW accounts_v1_users AS
  SELECT user_id, created_ms, deactivated, guest, admin FROM accounts_users;
CREATE VIEW accounts_v1_profiles AS
  SELECT user_id, displayname, avatar_url FROM accounts_users;
CREATE VIEW accounts_v1_devices AS
  SELECT user_id, device_id, position FROM accounts_devices;
CREATE VIEW accounts_v1_account_data AS
  SELECT user_id, room_id, type, content, position FROM accounts_account_data;
CREATE VIEW accounts_v1_filters AS
  SELECT user_id, filter_id, json FROM accounts_filters;
