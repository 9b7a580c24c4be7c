-- What clients of sliding sync have been sent, by connection. One row for each version of that which a client may come back with: the
-- one that it has come from, and those of answers since, of which it has got one at most.
CREATE TABLE sync_connections (
  user_id text NOT NULL,
  device_id text NOT NULL,
  conn_id text NOT NULL,
  serial bigint NOT NULL,
  state text NOT NULL,
  made_ms bigint NOT NULL,
  PRIMARY KEY (user_id, device_id, conn_id, serial)
);
CREATE INDEX sync_connections_age ON sync_connections (made_ms);
