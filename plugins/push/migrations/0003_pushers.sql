-- What is sent to pushers, and when.
ALTER TABLE push_pushers ADD COLUMN kind text NOT NULL DEFAULT 'http';
ALTER TABLE push_pushers ADD COLUMN enabled boolean NOT NULL DEFAULT TRUE;
-- Pushers of one shard are served one after another; see src/send.rs.
ALTER TABLE push_pushers ADD COLUMN shard bigint NOT NULL DEFAULT 0;
-- When it is its turn; 0: there is nothing to tell.
ALTER TABLE push_pushers ADD COLUMN next_ms bigint NOT NULL DEFAULT 0;
-- Rises with all that there may be to tell, so that whoever serves it sees what came meanwhile.
ALTER TABLE push_pushers ADD COLUMN news bigint NOT NULL DEFAULT 0;
-- Failures since the last success.
ALTER TABLE push_pushers ADD COLUMN tries bigint NOT NULL DEFAULT 0;
-- The unread count that was told last; -1: none was.
ALTER TABLE push_pushers ADD COLUMN badge bigint NOT NULL DEFAULT -1;
-- E-mail: when the last one was sent, how long there is none after it, and what stops them all.
ALTER TABLE push_pushers ADD COLUMN mailed_ms bigint NOT NULL DEFAULT 0;
ALTER TABLE push_pushers ADD COLUMN quiet_ms bigint NOT NULL DEFAULT 0;
ALTER TABLE push_pushers ADD COLUMN token text NOT NULL DEFAULT '';
CREATE INDEX push_pushers_due ON push_pushers (shard, next_ms) WHERE next_ms > 0;
CREATE INDEX push_pushers_token ON push_pushers (token) WHERE token <> '';

-- Notifications that wait for a pusher.
CREATE TABLE push_queue (
    user_id text NOT NULL,
    app_id text NOT NULL,
    pushkey text NOT NULL,
    -- Of the event.
    position bigint NOT NULL,
    event_id text NOT NULL,
    room_id text NOT NULL,
    -- JSON array.
    actions text NOT NULL,
    created_ms bigint NOT NULL,
    PRIMARY KEY (user_id, app_id, pushkey, position)
);
CREATE INDEX push_queue_key ON push_queue (app_id, pushkey);
