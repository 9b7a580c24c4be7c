-- What lists tell of a room and are ordered by, kept by the commits that change it. Rooms from before get their row by a timer (`filling.rs`).
CREATE TABLE rooms_about (
  room_id text PRIMARY KEY,
  -- As in rooms_rooms.
  published boolean NOT NULL,
  joined bigint NOT NULL,
  joined_local bigint NOT NULL,
  invited bigint NOT NULL,
  -- Entries of the current state.
  state_events bigint NOT NULL,
  -- Of the state events; null where there is none. Long ones are cut off.
  name text,
  canonical_alias text,
  room_type text,
  encryption text,
  join_rule text,
  guest_access text,
  history_visibility text,
  federatable boolean NOT NULL DEFAULT TRUE,
  -- In small letters, for searches.
  name_words text,
  alias_words text,
  topic_words text
);
CREATE INDEX rooms_about_public ON rooms_about (published, joined DESC, room_id);
CREATE INDEX rooms_about_joined ON rooms_about (joined, room_id);
CREATE INDEX rooms_about_name ON rooms_about (name, room_id);

CREATE VIEW rooms_v1_counts AS
  SELECT room_id, joined, invited FROM rooms_about;

CREATE VIEW rooms_v1_public AS
  SELECT room_id, joined, room_type, name_words, alias_words, topic_words FROM rooms_about WHERE published = TRUE;

-- Reports have numbers, as the tools of administrators know them.
ALTER TABLE rooms_reports ADD COLUMN number bigint NOT NULL DEFAULT 0;
UPDATE rooms_reports SET number = o.place FROM
  (SELECT report_id AS id, row_number() OVER (ORDER BY created_ms, report_id) AS place FROM rooms_reports) o
  WHERE o.id = rooms_reports.report_id;
CREATE INDEX rooms_reports_number ON rooms_reports (number);

-- Raised with each event that a user leaves to be sent later: the guard of how many there may be.
CREATE TABLE rooms_delayed_users (
  user_id text PRIMARY KEY,
  revision bigint NOT NULL
);
