-- Events of users that administrators have taken back, room by room. `rooms`: JSON array of those that are left; of the first one all events at or
-- above `below` have been looked at, and `found` of them were to be redacted. `failed`: JSON object, by event what went wrong.
CREATE TABLE accounts_redactions (
  id text NOT NULL PRIMARY KEY,
  user_id text NOT NULL,
  admin_id text NOT NULL,
  by_admin boolean NOT NULL,
  reason text NOT NULL,
  rooms text NOT NULL,
  below bigint NOT NULL,
  found bigint NOT NULL,
  most bigint NOT NULL,
  after_ms bigint NOT NULL,
  before_ms bigint NOT NULL,
  failed text NOT NULL,
  done boolean NOT NULL,
  created_ms bigint NOT NULL,
  revision bigint NOT NULL
);
CREATE INDEX accounts_redactions_done ON accounts_redactions (done, created_ms);
CREATE INDEX accounts_redactions_user ON accounts_redactions (user_id) WHERE done = FALSE;
