-- Events that did not follow the ends that the room had when they came, as far as their own past says otherwise than the
-- order of arrival. Most events have no row: a fork during which nobody of this server came or went leaves none.
CREATE TABLE rooms_late (
  -- Of the event.
  position bigint NOT NULL,
  -- A user of this server; empty: the history visibility; '*': every user of this server without a row of their own.
  user_id text NOT NULL,
  room_id text NOT NULL,
  -- The membership (leave where there is none), or the setting, in the state before the event and after it.
  value_before text NOT NULL,
  value_after text NOT NULL,
  PRIMARY KEY (position, user_id)
) WITHOUT ROWID;
CREATE INDEX rooms_late_user ON rooms_late (room_id, user_id, position);

CREATE VIEW rooms_v1_late_events AS
  SELECT room_id, position, user_id, value_before, value_after FROM rooms_late;
