-- What an mxc URI names. A media id that was made and not yet filled has no blob.
CREATE TABLE media_files (
    -- Server name; files of others are kept here, too, once somebody fetches them.
    origin text NOT NULL,
    media_id text NOT NULL,
    -- Who uploaded it; null for what the server or another one made.
    user_id text,
    created_ms bigint NOT NULL,
    -- Until when it may be filled; 0 once it is.
    expires_ms bigint NOT NULL,
    -- 0: not yet.
    uploaded_ms bigint NOT NULL,
    blob text,
    size bigint NOT NULL,
    content_type text NOT NULL,
    filename text,
    -- Modules have been asked and had nothing against it.
    checked boolean NOT NULL,
    -- A picture of a page, made by the server.
    preview boolean NOT NULL,
    -- Who took it out of sight; such a file is there for nobody.
    quarantined_by text,
    -- Kept from quarantine of all of a user or room, and from retention.
    protected boolean NOT NULL,
    -- When it was last looked at, to within a day.
    seen_ms bigint NOT NULL,
    PRIMARY KEY (origin, media_id)
);
CREATE INDEX media_files_user ON media_files (user_id, created_ms, media_id);
CREATE INDEX media_files_uploads ON media_files (user_id, uploaded_ms);
CREATE INDEX media_files_pending ON media_files (expires_ms) WHERE expires_ms > 0;
CREATE INDEX media_files_seen ON media_files (seen_ms);

-- What decoding a file found out, so that a hostile one is decoded once.
CREATE TABLE media_pictures (
    origin text NOT NULL,
    media_id text NOT NULL,
    width bigint NOT NULL,
    height bigint NOT NULL,
    -- As its bytes say.
    content_type text NOT NULL,
    -- Why it gets no thumbnails (`unsupported`, `too-large`); null: it does.
    problem text,
    PRIMARY KEY (origin, media_id)
);

CREATE TABLE media_thumbnails (
    origin text NOT NULL,
    media_id text NOT NULL,
    -- As wished.
    width bigint NOT NULL,
    height bigint NOT NULL,
    method text NOT NULL,
    animated boolean NOT NULL,
    blob text NOT NULL,
    size bigint NOT NULL,
    content_type text NOT NULL,
    PRIMARY KEY (origin, media_id, width, height, method, animated)
);

-- How many rows speak of a blob: equal bytes are kept once.
CREATE TABLE media_blobs (
    blob text NOT NULL PRIMARY KEY,
    users bigint NOT NULL,
    -- Since when nobody does; 0: somebody does.
    idle_ms bigint NOT NULL,
    -- It is being deleted: nobody may take it up any more.
    doomed boolean NOT NULL
);
CREATE INDEX media_blobs_idle ON media_blobs (idle_ms) WHERE users = 0;

-- What each user keeps. The version is the guard of whoever counts and then adds.
CREATE TABLE media_usage (
    user_id text NOT NULL PRIMARY KEY,
    bytes bigint NOT NULL,
    files bigint NOT NULL,
    version bigint NOT NULL
);

-- Previews of pages.
CREATE TABLE media_previews (
    -- SHA-256 of the URL.
    url_hash text NOT NULL,
    fetched_ms bigint NOT NULL,
    expires_ms bigint NOT NULL,
    -- JSON, as told to clients.
    content text NOT NULL,
    -- Its picture, if it has one.
    media_id text,
    PRIMARY KEY (url_hash, fetched_ms)
);
CREATE INDEX media_previews_expires ON media_previews (expires_ms);
