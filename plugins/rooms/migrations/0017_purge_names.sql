-- The room that users are moved to, written in the commit that makes it: a deletion makes one, however often it is begun anew.
ALTER TABLE rooms_purges ADD COLUMN new_room_id text;
-- Until then, in milliseconds since the Unix epoch, whoever goes on with the job is alone with it.
ALTER TABLE rooms_purges ADD COLUMN claimed_until_ms bigint NOT NULL DEFAULT 0;

-- Users and aliases of a room that is deleted, and what became of each. They go with the job.
CREATE TABLE rooms_purge_names (
  purge_id text NOT NULL,
  name text NOT NULL,
  -- waiting (a user who is to leave), kicked, failed, or alias (it leads to the new room).
  outcome text NOT NULL,
  -- Of a user: they were in the room, not merely at its door.
  joined boolean NOT NULL,
  PRIMARY KEY (purge_id, name)
) WITHOUT ROWID;
CREATE INDEX rooms_purge_names_outcome ON rooms_purge_names (purge_id, outcome, name);
