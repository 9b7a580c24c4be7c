-- What modules decide of accounts, and when they were last used.
ALTER TABLE accounts_users ADD COLUMN shadow_banned boolean NOT NULL DEFAULT FALSE;
ALTER TABLE accounts_users ADD COLUMN last_seen_ms bigint;
CREATE INDEX accounts_users_seen ON accounts_users (last_seen_ms);

-- The request that opened a session: a module may want to see all that took part.
ALTER TABLE accounts_uia ADD COLUMN request_id text NOT NULL DEFAULT '';
ALTER TABLE accounts_uia ADD COLUMN remote text NOT NULL DEFAULT '';
ALTER TABLE accounts_uia ADD COLUMN user_agent text NOT NULL DEFAULT '';

-- Tokens for m.login.token, by hash; each is good once.
CREATE TABLE accounts_login_tokens (
  hash text NOT NULL PRIMARY KEY,
  user_id text NOT NULL,
  expires_ms bigint NOT NULL
);
CREATE INDEX accounts_login_tokens_expires ON accounts_login_tokens (expires_ms);
CREATE INDEX accounts_login_tokens_user ON accounts_login_tokens (user_id);
