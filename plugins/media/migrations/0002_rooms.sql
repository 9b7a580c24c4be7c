-- What the events of rooms name, as far as it was uploaded here. Written while there is retention by room.
CREATE TABLE media_mentions (
    media_id text NOT NULL,
    room_id text NOT NULL,
    -- When the youngest event of the room's timeline that names it was sent, as it says itself.
    newest_ms bigint NOT NULL,
    -- Whoever uploaded it sent one of them; else the room's retention does not end it.
    own boolean NOT NULL,
    PRIMARY KEY (media_id, room_id)
);
CREATE INDEX media_mentions_room ON media_mentions (room_id, newest_ms, media_id);

-- State that names it; it keeps it as long as it is the room's current state.
CREATE TABLE media_places (
    media_id text NOT NULL,
    room_id text NOT NULL,
    type text NOT NULL,
    state_key text NOT NULL,
    event_id text NOT NULL,
    PRIMARY KEY (media_id, room_id, type, state_key)
);
CREATE INDEX media_places_room ON media_places (room_id);

-- How far long work has come.
CREATE TABLE media_progress (
    name text NOT NULL PRIMARY KEY,
    position bigint NOT NULL,
    -- JSON
    state text NOT NULL
);

-- Bytes of a preview's text.
ALTER TABLE media_previews ADD COLUMN size bigint NOT NULL DEFAULT 0;
CREATE INDEX media_previews_fetched ON media_previews (fetched_ms);

-- Nobody's: what previews take.
INSERT INTO media_usage (user_id, bytes, files, version)
SELECT '', coalesce(sum(size), 0), count(*), 0 FROM media_files WHERE preview = TRUE;
