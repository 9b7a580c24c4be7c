-- The rules of users who changed them; the others have the defaults. The position is the version.
CREATE TABLE push_rules (
    user_id text NOT NULL PRIMARY KEY,
    -- JSON, content of m.push_rules.
    content text NOT NULL,
    position bigint NOT NULL
);
CREATE VIEW push_v1_rules AS
    SELECT user_id, content, position FROM push_rules;

CREATE TABLE push_pushers (
    user_id text NOT NULL,
    app_id text NOT NULL,
    pushkey text NOT NULL,
    -- The device that set it, empty if none did; without it the pusher is void.
    device_id text NOT NULL,
    -- JSON, as told to the client.
    content text NOT NULL,
    created_ms bigint NOT NULL,
    PRIMARY KEY (user_id, app_id, pushkey)
);
CREATE INDEX push_pushers_key ON push_pushers (app_id, pushkey);

-- How far the events topic has been evaluated. One row.
CREATE TABLE push_progress (
    id bigint NOT NULL PRIMARY KEY,
    position bigint NOT NULL
);
INSERT INTO push_progress (id, position) VALUES (1, 0);
CREATE VIEW push_v1_progress AS SELECT position FROM push_progress;

-- The last event evaluated in each room: the guard of whoever evaluates the next ones.
CREATE TABLE push_rooms (
    room_id text NOT NULL PRIMARY KEY,
    position bigint NOT NULL
);

-- How the counting works: `push_totals` counts what the default rules make of a room's events. A user's mark is what to
-- take off to get the user's own count: whatever was before the user joined or read, less or more what the user's
-- own rules and mentions made of each event. So a message costs one row however many members the room has.
CREATE TABLE push_totals (
    room_id text NOT NULL,
    -- Empty: the main timeline.
    thread_id text NOT NULL,
    notifications bigint NOT NULL,
    highlights bigint NOT NULL,
    -- The last change of membership that the marks know.
    members_position bigint NOT NULL,
    -- The last event that is kept in push_events.
    event_position bigint NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (room_id, thread_id)
);

-- One for each local member of a room, and for each thread of it that had news since the member joined.
CREATE TABLE push_marks (
    room_id text NOT NULL,
    user_id text NOT NULL,
    thread_id text NOT NULL,
    notifications bigint NOT NULL,
    highlights bigint NOT NULL,
    -- Events up to here were before the user joined.
    since bigint NOT NULL,
    -- Events up to here are read.
    read_position bigint NOT NULL,
    -- A change of the totals at this position left the user's count as it was.
    same_at bigint NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (room_id, user_id, thread_id)
) WITHOUT ROWID;
CREATE INDEX push_marks_user ON push_marks (user_id, room_id);
CREATE INDEX push_marks_read ON push_marks (room_id, thread_id, read_position);

CREATE VIEW push_v1_counts AS
    SELECT m.user_id AS user_id, m.room_id AS room_id, m.thread_id AS thread_id,
        t.notifications - m.notifications AS notification_count,
        t.highlights - m.highlights AS highlight_count,
        CASE WHEN t.position > m.position AND t.position > m.same_at THEN t.position ELSE m.position END AS position
    FROM push_marks m JOIN push_totals t ON t.room_id = m.room_id AND t.thread_id = m.thread_id;

-- Events that notified somebody, the newest of each room: what the default rules say.
CREATE TABLE push_events (
    position bigint NOT NULL PRIMARY KEY,
    event_id text NOT NULL,
    room_id text NOT NULL,
    thread_id text NOT NULL,
    sender text NOT NULL,
    -- 0 or 1, so that they can be added.
    notify bigint NOT NULL,
    highlight bigint NOT NULL,
    -- JSON array.
    actions text NOT NULL,
    created_ms bigint NOT NULL
);
CREATE INDEX push_events_room ON push_events (room_id, position);

-- Where a user's result differs from it.
CREATE TABLE push_exceptions (
    room_id text NOT NULL,
    position bigint NOT NULL,
    user_id text NOT NULL,
    notify bigint NOT NULL,
    highlight bigint NOT NULL,
    actions text NOT NULL,
    PRIMARY KEY (room_id, position, user_id)
) WITHOUT ROWID;
