-- Rooms that nobody of this server comes into, whether or not they are known here.
CREATE TABLE rooms_blocked (
  room_id text PRIMARY KEY,
  -- Who blocked it; empty where that was not kept.
  user_id text NOT NULL,
  created_ms bigint NOT NULL
);
INSERT INTO rooms_blocked (room_id, user_id, created_ms)
  SELECT room_id, '', created_ms FROM rooms_rooms WHERE blocked = TRUE;

-- Work of administrators that takes a while: history or whole rooms that go. Done ones are kept for some days.
CREATE TABLE rooms_purges (
  purge_id text PRIMARY KEY,
  -- history or room.
  kind text NOT NULL,
  room_id text NOT NULL,
  -- scheduled, active, complete or failed.
  status text NOT NULL,
  done boolean NOT NULL,
  -- JSON: what is to be done, and how far it has come (see `admin/jobs.rs`).
  wish text NOT NULL,
  progress text NOT NULL,
  -- Raised by each step: the guard of whoever goes on with it.
  revision bigint NOT NULL,
  created_ms bigint NOT NULL,
  changed_ms bigint NOT NULL
);
CREATE INDEX rooms_purges_room ON rooms_purges (room_id, done, created_ms);
CREATE INDEX rooms_purges_age ON rooms_purges (done, changed_ms);
CREATE UNIQUE INDEX rooms_purges_one ON rooms_purges (room_id) WHERE done = FALSE AND kind = 'room';
