-- When somebody was last active, whatever they did: typed, read or said so. The row of presence_status is what others are told.
CREATE TABLE presence_seen (
    user_id text NOT NULL PRIMARY KEY,
    active_ms bigint NOT NULL,
    -- When they fall one step: online to unavailable to offline. 0: not before they are active again.
    falls_ms bigint NOT NULL
);
CREATE INDEX presence_seen_by_fall ON presence_seen (falls_ms) WHERE falls_ms > 0;
