-- What is done by a timer after the commit that asked for it, in slices; see src/later.rs.

-- History that went: events below `upto` that are no more do not count.
CREATE TABLE push_purges (
    room_id text NOT NULL PRIMARY KEY,
    upto bigint NOT NULL
);

-- Marks to be counted anew: those that had not read up to `upto`. The users up to `user_id` are done.
CREATE TABLE push_recounts (
    room_id text NOT NULL,
    thread_id text NOT NULL,
    upto bigint NOT NULL,
    user_id text NOT NULL,
    PRIMARY KEY (room_id, thread_id)
);

-- Rules to be carried over to a room that replaces another. The users up to `user_id` are done.
CREATE TABLE push_upgrades (
    new_room text NOT NULL,
    old_room text NOT NULL,
    user_id text NOT NULL,
    PRIMARY KEY (new_room, old_room)
);
