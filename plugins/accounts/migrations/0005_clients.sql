-- Restrictions by administrators. `erased`: on deactivation the user asked that their events be hidden from those who come later.
ALTER TABLE accounts_users ADD COLUMN locked boolean NOT NULL DEFAULT FALSE;
ALTER TABLE accounts_users ADD COLUMN suspended boolean NOT NULL DEFAULT FALSE;
ALTER TABLE accounts_users ADD COLUMN erased boolean NOT NULL DEFAULT FALSE;
CREATE INDEX accounts_users_erased ON accounts_users (user_id) WHERE erased = TRUE;
CREATE VIEW accounts_v1_erased AS SELECT user_id FROM accounts_users WHERE erased = TRUE;

ALTER TABLE accounts_devices ADD COLUMN user_agent text NOT NULL DEFAULT '';
CREATE VIEW accounts_v2_devices AS
  SELECT user_id, device_id, display_name, position FROM accounts_devices;

-- Tokens that let people register. What is pending is counted in accounts_uia.
CREATE TABLE accounts_registration_tokens (
  token text NOT NULL PRIMARY KEY,
  uses_allowed bigint,
  completed bigint NOT NULL,
  expires_ms bigint
);

-- Addresses of users; canonical.
CREATE TABLE accounts_threepids (
  medium text NOT NULL,
  address text NOT NULL,
  user_id text NOT NULL,
  validated_ms bigint NOT NULL,
  added_ms bigint NOT NULL,
  PRIMARY KEY (medium, address)
);
CREATE INDEX accounts_threepids_user ON accounts_threepids (user_id);
CREATE VIEW accounts_v1_threepids AS
  SELECT user_id, medium, address, validated_ms, added_ms FROM accounts_threepids;

-- Proofs that somebody reads an address's mail. `purpose`: register, password or add; `token`: hash of what was mailed last.
CREATE TABLE accounts_validations (
  sid text NOT NULL PRIMARY KEY,
  purpose text NOT NULL,
  address text NOT NULL,
  client_secret text NOT NULL,
  send_attempt bigint NOT NULL,
  token text NOT NULL,
  next_link text NOT NULL,
  created_ms bigint NOT NULL,
  validated_ms bigint,
  UNIQUE (purpose, address, client_secret)
);
CREATE INDEX accounts_validations_created ON accounts_validations (created_ms);

-- Where identity servers were told of a user by us.
CREATE TABLE accounts_bindings (
  user_id text NOT NULL,
  medium text NOT NULL,
  address text NOT NULL,
  id_server text NOT NULL,
  PRIMARY KEY (user_id, medium, address, id_server)
);
