-- Who has been in a room the longest, without a look at all who are in it: rooms without a name are named after them.
CREATE INDEX rooms_memberships_first ON rooms_memberships (room_id, membership, position);
