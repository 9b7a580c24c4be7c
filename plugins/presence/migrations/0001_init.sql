CREATE TABLE presence_typing (
    room_id text NOT NULL,
    user_id text NOT NULL,
    until_ms bigint NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (room_id, user_id)
);
CREATE INDEX presence_typing_by_room ON presence_typing (room_id, position);
CREATE INDEX presence_typing_by_position ON presence_typing (position);
-- Who types now: few, where those who ever did are many.
CREATE INDEX presence_typing_active ON presence_typing (room_id) WHERE until_ms > 0;
CREATE VIEW presence_v1_typing AS
    SELECT room_id, user_id, until_ms, position FROM presence_typing;

CREATE TABLE presence_receipts (
    room_id text NOT NULL,
    user_id text NOT NULL,
    type text NOT NULL,
    thread_id text NOT NULL,
    event_id text NOT NULL,
    event_position bigint NOT NULL,
    ts bigint NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (room_id, user_id, type, thread_id)
);
CREATE INDEX presence_receipts_by_room ON presence_receipts (room_id, position);
CREATE INDEX presence_receipts_by_position ON presence_receipts (position);
CREATE VIEW presence_v1_receipts AS
    SELECT room_id, user_id, type, thread_id, event_id, event_position, ts, position
    FROM presence_receipts;

CREATE TABLE presence_status (
    user_id text NOT NULL PRIMARY KEY,
    presence text NOT NULL,
    status_msg text,
    last_active_ms bigint NOT NULL,
    currently_active boolean NOT NULL,
    position bigint NOT NULL
);
CREATE INDEX presence_status_by_position ON presence_status (position);
CREATE VIEW presence_v1_presence AS
    SELECT user_id, presence, status_msg, last_active_ms, currently_active, position
    FROM presence_status;
