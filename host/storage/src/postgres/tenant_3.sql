-- A tenant's schema from version 2 to 3.

-- Moves a consumer on over what it has settled, not beyond `horizon`: below it nothing can appear. Most often nothing
-- can be moved, since the first message is still at work: that is seen without a lock and by one look into an index.
CREATE OR REPLACE FUNCTION @S@.tessera_advance(subject text, who text, horizon bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  upto bigint;
  target bigint;
BEGIN
  SELECT c.after INTO upto FROM @S@.tessera_consumers AS c
    WHERE c.topic = subject AND c.consumer = who;
  IF NOT FOUND OR @S@.tessera_settled(subject, who, upto, horizon) <= upto THEN RETURN; END IF;
  -- Whatever has changed since: from here on nobody moves it but this.
  SELECT c.after INTO upto FROM @S@.tessera_consumers AS c
    WHERE c.topic = subject AND c.consumer = who FOR UPDATE;
  IF NOT FOUND THEN RETURN; END IF;
  target := @S@.tessera_settled(subject, who, upto, horizon);
  IF target <= upto THEN RETURN; END IF;
  UPDATE @S@.tessera_consumers AS c SET after = target WHERE c.topic = subject AND c.consumer = who;
  DELETE FROM @S@.tessera_deliveries AS d WHERE d.consumer = who AND d.topic = subject AND d.id <= target;
  PERFORM @S@.tessera_sweep(subject);
END $$;

-- How far a consumer has settled everything after `upto`. Ordered, so that the first that is not settled ends it.
CREATE FUNCTION @S@.tessera_settled(subject text, who text, upto bigint, horizon bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
  open bigint;
BEGIN
  SELECT o.id INTO open FROM @S@.tessera_outbox AS o
    WHERE o.topic = subject AND o.id > upto AND o.id <= horizon AND NOT EXISTS (
      SELECT 1 FROM @S@.tessera_deliveries AS d
      WHERE d.consumer = who AND d.id = o.id AND d.settled = 1)
    ORDER BY o.topic, o.id LIMIT 1;
  RETURN coalesce(open - 1, horizon);
END $$;

REVOKE ALL ON FUNCTION @S@.tessera_settled FROM PUBLIC;

UPDATE @S@.tessera_meta SET value = '3' WHERE key = 'schema';
