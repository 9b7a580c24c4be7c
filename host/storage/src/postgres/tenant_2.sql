-- A tenant's schema from version 1 to 2.
CREATE INDEX tessera_deliveries_open ON @S@.tessera_deliveries (consumer, topic, next_ms)
  WHERE settled = 0;

-- Records a failed attempt, or with no next one gives up. Gives how many there were; 0: settled.
CREATE OR REPLACE FUNCTION @S@.tessera_fail(
  who text, message bigint, why text, next_at bigint, now_ms bigint, max_dead bigint
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  subject text;
  tries bigint;
BEGIN
  UPDATE @S@.tessera_dead AS d SET attempts = d.attempts + 1, error = why,
    retry = CASE WHEN next_at IS NULL THEN 0 ELSE 1 END, next_ms = coalesce(next_at, 0)
    WHERE d.consumer = who AND d.id = message AND d.retry = 1 RETURNING d.attempts INTO tries;
  IF FOUND THEN RETURN tries; END IF;
  subject := @S@.tessera_open(who, message);
  IF subject IS NULL THEN RETURN 0; END IF;
  INSERT INTO @S@.tessera_deliveries AS d (consumer, id, topic, settled, attempts, next_ms, error)
    VALUES (who, message, subject, 0, 1, coalesce(next_at, 0), why)
    ON CONFLICT (consumer, id) DO UPDATE
    SET attempts = d.attempts + 1, next_ms = excluded.next_ms, error = excluded.error
    WHERE d.settled = 0 RETURNING d.attempts INTO tries;
  -- Settled by another in between.
  IF NOT FOUND THEN RETURN 0; END IF;
  IF next_at IS NULL THEN
    INSERT INTO @S@.tessera_dead (consumer, id, topic, key, payload, attempts, error, position,
      emitted_ms, died_ms, retry, next_ms) SELECT who, o.id, o.topic, o.key, o.payload, tries, why,
      o.position, o.emitted_ms, now_ms, 0, 0 FROM @S@.tessera_outbox AS o WHERE o.id = message;
    UPDATE @S@.tessera_deliveries AS d SET settled = 1 WHERE d.consumer = who AND d.id = message;
    DELETE FROM @S@.tessera_dead AS d WHERE d.consumer = who AND d.id <= (
      SELECT x.id FROM @S@.tessera_dead AS x WHERE x.consumer = who
      ORDER BY x.id DESC OFFSET max_dead LIMIT 1);
  END IF;
  RETURN tries;
END $$;

UPDATE @S@.tessera_meta SET value = '2' WHERE key = 'schema';
