-- One row for each room. Whoever writes into a room raises its revision: that row is the guard.
CREATE TABLE rooms_rooms (
  room_id text PRIMARY KEY,
  version text NOT NULL,
  creator text NOT NULL,
  -- Position of the create event.
  position bigint NOT NULL,
  revision bigint NOT NULL,
  -- JSON array of [event id, reference hash in unpadded base64, depth].
  extremities text NOT NULL,
  depth bigint NOT NULL,
  -- The state group that is the current state, the full one it rests on, and how many lie between.
  state_group bigint NOT NULL,
  state_base bigint NOT NULL,
  state_chain bigint NOT NULL,
  -- Listed in the public directory.
  published boolean NOT NULL DEFAULT FALSE,
  created_ms bigint NOT NULL
);
CREATE INDEX rooms_rooms_published ON rooms_rooms (published, room_id);

-- Every event once, as JSON in its room version's federation format, pruned if it was redacted.
CREATE TABLE rooms_events (
  position bigint PRIMARY KEY,
  event_id text NOT NULL UNIQUE,
  room_id text NOT NULL,
  type text NOT NULL,
  state_key text,
  sender text NOT NULL,
  origin_ts bigint NOT NULL,
  depth bigint NOT NULL,
  redacted_by text,
  -- Refused by the auth rules; kept so that it is not asked for again.
  rejected boolean NOT NULL DEFAULT FALSE,
  -- Allowed by its own past, refused by the room's present.
  soft_failed boolean NOT NULL DEFAULT FALSE,
  -- Known (such as in an auth chain) without its place in the timeline.
  outlier boolean NOT NULL DEFAULT FALSE,
  -- Part of the timeline here.
  stream boolean NOT NULL DEFAULT TRUE,
  -- State groups before and after it; null for outliers.
  state_before bigint,
  state_after bigint,
  json text NOT NULL
);
CREATE INDEX rooms_events_room ON rooms_events (room_id, position);
CREATE INDEX rooms_events_time ON rooms_events (room_id, origin_ts);

-- A state group is a full state (base = its own id) or a difference to the group before it.
-- Its id is the position of the event that made it.
CREATE TABLE rooms_state_groups (
  group_id bigint PRIMARY KEY,
  room_id text NOT NULL,
  prev_group bigint,
  base bigint NOT NULL
);
CREATE INDEX rooms_state_groups_base ON rooms_state_groups (base, group_id);

CREATE TABLE rooms_state_entries (
  group_id bigint NOT NULL,
  type text NOT NULL,
  state_key text NOT NULL,
  event_id text NOT NULL,
  PRIMARY KEY (group_id, type, state_key)
) WITHOUT ROWID;

CREATE TABLE rooms_current_state (
  room_id text NOT NULL,
  type text NOT NULL,
  state_key text NOT NULL,
  event_id text NOT NULL,
  position bigint NOT NULL,
  PRIMARY KEY (room_id, type, state_key)
) WITHOUT ROWID;
CREATE INDEX rooms_current_state_type ON rooms_current_state (type, state_key);

CREATE TABLE rooms_state_deltas (
  position bigint NOT NULL,
  room_id text NOT NULL,
  type text NOT NULL,
  state_key text NOT NULL,
  event_id text,
  prev_event_id text,
  PRIMARY KEY (position, type, state_key)
) WITHOUT ROWID;
CREATE INDEX rooms_state_deltas_room ON rooms_state_deltas (room_id, position);
CREATE INDEX rooms_state_deltas_key ON rooms_state_deltas (room_id, type, state_key, position);

-- The current membership of each user who was ever concerned.
CREATE TABLE rooms_memberships (
  room_id text NOT NULL,
  user_id text NOT NULL,
  membership text NOT NULL,
  event_id text NOT NULL,
  sender text NOT NULL,
  position bigint NOT NULL,
  forgotten boolean NOT NULL DEFAULT FALSE,
  stripped_state text,
  display_name text,
  avatar_url text,
  PRIMARY KEY (room_id, user_id)
);
CREATE INDEX rooms_memberships_user ON rooms_memberships (user_id, membership);
CREATE INDEX rooms_memberships_room ON rooms_memberships (room_id, membership);
CREATE INDEX rooms_memberships_position ON rooms_memberships (user_id, position);

CREATE TABLE rooms_membership_changes (
  position bigint NOT NULL,
  room_id text NOT NULL,
  user_id text NOT NULL,
  membership text NOT NULL,
  prev_membership text NOT NULL,
  event_id text NOT NULL,
  PRIMARY KEY (position, user_id)
) WITHOUT ROWID;
CREATE INDEX rooms_membership_changes_user ON rooms_membership_changes (user_id, position);
CREATE INDEX rooms_membership_changes_room ON rooms_membership_changes (room_id, position);
CREATE INDEX rooms_membership_changes_both ON rooms_membership_changes (room_id, user_id, position);

-- What an event says of another; gone when it is redacted.
CREATE TABLE rooms_relations (
  event_id text PRIMARY KEY,
  position bigint NOT NULL,
  room_id text NOT NULL,
  relates_to text NOT NULL,
  rel_type text NOT NULL,
  agg_key text NOT NULL,
  type text NOT NULL,
  sender text NOT NULL
);
CREATE INDEX rooms_relations_target ON rooms_relations (relates_to, rel_type, type, position);
CREATE INDEX rooms_relations_room ON rooms_relations (room_id, rel_type, position);

-- Requests of clients that may be repeated. Dropped when they are old (see `transactions.rs`).
CREATE TABLE rooms_transactions (
  user_id text NOT NULL,
  device_id text NOT NULL,
  path text NOT NULL,
  txn_id text NOT NULL,
  event_id text NOT NULL,
  created_ms bigint NOT NULL,
  PRIMARY KEY (user_id, device_id, path, txn_id)
) WITHOUT ROWID;
CREATE INDEX rooms_transactions_event ON rooms_transactions (event_id);
CREATE INDEX rooms_transactions_age ON rooms_transactions (created_ms);

CREATE TABLE rooms_aliases (
  alias text PRIMARY KEY,
  room_id text NOT NULL,
  creator text NOT NULL,
  created_ms bigint NOT NULL
);
CREATE INDEX rooms_aliases_room ON rooms_aliases (room_id);

CREATE VIEW rooms_v1_rooms AS
  SELECT room_id, version, creator, position FROM rooms_rooms;

CREATE VIEW rooms_v1_events AS
  SELECT position, event_id, room_id, type, state_key, sender, origin_ts, depth, json, redacted_by, rejected, stream
  FROM rooms_events;

CREATE VIEW rooms_v1_current_state AS
  SELECT s.room_id AS room_id, s.type AS type, s.state_key AS state_key, s.event_id AS event_id,
    s.position AS position, e.json AS json, e.sender AS sender
  FROM rooms_current_state s JOIN rooms_events e ON e.position = s.position;

CREATE VIEW rooms_v1_state_deltas AS
  SELECT position, room_id, type, state_key, event_id, prev_event_id FROM rooms_state_deltas;

CREATE VIEW rooms_v1_memberships AS
  SELECT room_id, user_id, membership, event_id, sender, position, forgotten, stripped_state, display_name, avatar_url
  FROM rooms_memberships;

CREATE VIEW rooms_v1_membership_changes AS
  SELECT position, room_id, user_id, membership, prev_membership, event_id FROM rooms_membership_changes;

CREATE VIEW rooms_v1_relations AS
  SELECT position, room_id, event_id, relates_to, rel_type, agg_key, type, sender FROM rooms_relations;

CREATE VIEW rooms_v1_transactions AS
  SELECT event_id, user_id, device_id, txn_id FROM rooms_transactions;
