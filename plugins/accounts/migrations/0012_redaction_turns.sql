-- Jobs take turns. `turn`: the higher, the later they were worked at; `tries`: how often the step that is next has failed; `resume_ms`: when it is tried
-- again. `rooms` stays as it was given: `next` is the index of the room after the one under way. `everywhere`: in place of `rooms`, all where
-- the user is or is banned; those up to `after_room` are done. `room`: the one under way; empty: none is.
ALTER TABLE accounts_redactions ADD COLUMN turn bigint NOT NULL DEFAULT 0;
ALTER TABLE accounts_redactions ADD COLUMN tries bigint NOT NULL DEFAULT 0;
ALTER TABLE accounts_redactions ADD COLUMN resume_ms bigint NOT NULL DEFAULT 0;
ALTER TABLE accounts_redactions ADD COLUMN next bigint NOT NULL DEFAULT 0;
ALTER TABLE accounts_redactions ADD COLUMN everywhere boolean NOT NULL DEFAULT FALSE;
ALTER TABLE accounts_redactions ADD COLUMN after_room text NOT NULL DEFAULT '';
ALTER TABLE accounts_redactions ADD COLUMN room text NOT NULL DEFAULT '';

-- Of each user one job at a time.
CREATE TABLE accounts_redacting (
  user_id text NOT NULL PRIMARY KEY,
  id text NOT NULL
);
CREATE INDEX accounts_notices_event ON accounts_notices (event_id) WHERE event_id <> '';
