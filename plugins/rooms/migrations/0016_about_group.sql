-- The state group that the row is true for; any other than the room's own: the row is to be written anew. Nodes of versions before
-- this one change the state without it.
ALTER TABLE rooms_about ADD COLUMN state_group bigint;
