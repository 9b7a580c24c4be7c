-- Which events a state group is the state before, and the groups of a room: so that what nothing rests on can go.
CREATE INDEX rooms_events_before ON rooms_events (state_before);
CREATE INDEX rooms_state_groups_room ON rooms_state_groups (room_id, group_id);
