-- The host's own tables, version 2. Plug-ins cannot name them.
CREATE TABLE tessera_meta (key text PRIMARY KEY, value text NOT NULL) WITHOUT ROWID;
INSERT INTO tessera_meta (key, value) VALUES ('schema', '3');

-- One row: the last position, message and timer generation given out.
CREATE TABLE tessera_sequence (
  id integer PRIMARY KEY CHECK (id = 1),
  position integer NOT NULL, message integer NOT NULL, timer integer NOT NULL
);
INSERT INTO tessera_sequence VALUES (1, 0, 0, 0);

-- The text itself is kept: a change of an applied migration is told exactly.
CREATE TABLE tessera_migrations (
  plugin text NOT NULL, seq integer NOT NULL, name text NOT NULL, sql text NOT NULL,
  plugin_version text NOT NULL, applied_ms integer NOT NULL,
  PRIMARY KEY (plugin, name)
) WITHOUT ROWID;

CREATE TABLE tessera_commits (
  seq integer PRIMARY KEY, plugin text NOT NULL, id text NOT NULL,
  first_position integer NOT NULL, affected text NOT NULL, UNIQUE (plugin, id)
);

CREATE TABLE tessera_outbox (
  id integer PRIMARY KEY, topic text NOT NULL, key text NOT NULL, payload text NOT NULL,
  position integer NOT NULL, emitted_ms integer NOT NULL
);
CREATE INDEX tessera_outbox_topic ON tessera_outbox (topic);
CREATE INDEX tessera_outbox_key ON tessera_outbox (topic, key);

-- Everything of the topic up to `after` is settled.
CREATE TABLE tessera_consumers (
  topic text NOT NULL, consumer text NOT NULL, after integer NOT NULL,
  PRIMARY KEY (topic, consumer)
) WITHOUT ROWID;

-- What is not simply "not tried yet" beyond `after`.
CREATE TABLE tessera_deliveries (
  consumer text NOT NULL, id integer NOT NULL, topic text NOT NULL, settled integer NOT NULL,
  attempts integer NOT NULL, next_ms integer NOT NULL, error text NOT NULL,
  PRIMARY KEY (consumer, id)
) WITHOUT ROWID;
CREATE INDEX tessera_deliveries_open ON tessera_deliveries (consumer, topic, next_ms) WHERE settled = 0;

CREATE TABLE tessera_dead (
  consumer text NOT NULL, id integer NOT NULL, topic text NOT NULL, key text NOT NULL,
  payload text NOT NULL, attempts integer NOT NULL, error text NOT NULL,
  position integer NOT NULL, emitted_ms integer NOT NULL, died_ms integer NOT NULL,
  retry integer NOT NULL, next_ms integer NOT NULL,
  PRIMARY KEY (consumer, id)
);
CREATE INDEX tessera_dead_key ON tessera_dead (consumer, topic, retry, key);

CREATE TABLE tessera_timers (
  plugin text NOT NULL, name text NOT NULL, due_ms integer NOT NULL, payload text NOT NULL,
  generation integer NOT NULL, claimed_until integer NOT NULL DEFAULT 0,
  PRIMARY KEY (plugin, name)
);
CREATE INDEX tessera_timers_due ON tessera_timers (due_ms);

CREATE TABLE tessera_fulltext_indexes (
  plugin text NOT NULL, name text NOT NULL, PRIMARY KEY (plugin, name)
) WITHOUT ROWID;
-- Gives each entry the number under which the index knows it.
CREATE TABLE tessera_fulltext (
  id integer PRIMARY KEY, plugin text NOT NULL, name text NOT NULL, key text NOT NULL,
  grp text NOT NULL, UNIQUE (plugin, name, key)
);

-- Who may do what only one may do at a time, and until when (milliseconds since the epoch).
CREATE TABLE tessera_leases (
  name text PRIMARY KEY, holder text NOT NULL, until integer NOT NULL
) WITHOUT ROWID;
