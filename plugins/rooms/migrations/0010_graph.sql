-- What state events rest on, so that auth chains are read in one statement. Complete for the rooms that say so.
CREATE TABLE rooms_auth_edges (
  event_id text NOT NULL,
  auth_id text NOT NULL,
  PRIMARY KEY (event_id, auth_id)
) WITHOUT ROWID;
-- The edges of all state events of the room are there; rooms from before get theirs when they are first needed.
ALTER TABLE rooms_rooms ADD COLUMN auth_edges boolean NOT NULL DEFAULT FALSE;

-- Events that others follow which came with the state before them: what arrives later is no new end of the room.
CREATE TABLE rooms_followed (
  event_id text NOT NULL,
  follower text NOT NULL,
  room_id text NOT NULL,
  PRIMARY KEY (event_id, follower)
) WITHOUT ROWID;

-- Redactions whose target is not here yet. Spec: room version 3, Handling redactions.
CREATE TABLE rooms_held_redactions (
  event_id text PRIMARY KEY,
  target text NOT NULL,
  room_id text NOT NULL,
  -- The sender has the power to redact anything; otherwise it takes the sender's server.
  by_power boolean NOT NULL
);
CREATE INDEX rooms_held_redactions_target ON rooms_held_redactions (target);

-- State groups that came of a resolution and that no event has used yet. Those that stay unused are cleaned up.
CREATE TABLE rooms_idle_groups (
  group_id bigint PRIMARY KEY,
  room_id text NOT NULL,
  created_ms bigint NOT NULL
);
