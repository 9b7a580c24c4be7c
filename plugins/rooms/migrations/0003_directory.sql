-- What the service of the public list reads.
CREATE VIEW rooms_v1_listed AS
  SELECT room_id FROM rooms_rooms WHERE published = TRUE;

CREATE VIEW rooms_v1_aliases AS
  SELECT alias, room_id, creator FROM rooms_aliases;

-- What users told the operator of. The oldest go when there are too many (see `api/report.rs`).
CREATE TABLE rooms_reports (
  report_id text PRIMARY KEY,
  -- room, event or user.
  kind text NOT NULL,
  -- Empty where it does not apply.
  room_id text NOT NULL,
  event_id text NOT NULL,
  user_id text NOT NULL,
  reporter text NOT NULL,
  reason text NOT NULL,
  created_ms bigint NOT NULL
);
CREATE INDEX rooms_reports_age ON rooms_reports (created_ms, report_id);

-- Events that clients left to be sent later (MSC4140).
CREATE TABLE rooms_delayed (
  delay_id text PRIMARY KEY,
  user_id text NOT NULL,
  device_id text NOT NULL,
  room_id text NOT NULL,
  type text NOT NULL,
  state_key text,
  content text NOT NULL,
  delay_ms bigint NOT NULL,
  -- When the delay began to run, anew with each restart.
  started_ms bigint NOT NULL,
  -- Raised by each restart: the guard of whoever sends, cancels or restarts.
  revision bigint NOT NULL,
  -- Of the request, so that a repetition makes no second one.
  txn text NOT NULL
);
CREATE INDEX rooms_delayed_user ON rooms_delayed (user_id, started_ms);
CREATE INDEX rooms_delayed_state ON rooms_delayed (room_id, type, state_key);
CREATE UNIQUE INDEX rooms_delayed_txn ON rooms_delayed (user_id, device_id, txn);
