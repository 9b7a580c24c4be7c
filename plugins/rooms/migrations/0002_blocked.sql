-- Shut down: no user of this server comes in.
ALTER TABLE rooms_rooms ADD COLUMN blocked boolean NOT NULL DEFAULT FALSE;
