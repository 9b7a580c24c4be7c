-- What all tenants of a database share, from version 1 to 2.

-- Names the time since the server last recovered from a crash, which empties the table. Its start is not enough: where
-- only a backend is killed, the server recovers without being started anew.
CREATE UNLOGGED TABLE tessera.epoch (one boolean PRIMARY KEY CHECK (one), id uuid NOT NULL);
CREATE FUNCTION tessera.epoch() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  known uuid;
BEGIN
  SELECT e.id INTO known FROM tessera.epoch AS e;
  IF NOT FOUND THEN
    INSERT INTO tessera.epoch VALUES (TRUE, gen_random_uuid()) ON CONFLICT DO NOTHING;
    SELECT e.id INTO known FROM tessera.epoch AS e;
  END IF;
  RETURN extract(epoch FROM pg_postmaster_start_time()) || ' ' || known;
END $$;
REVOKE ALL ON FUNCTION tessera.epoch FROM PUBLIC;

UPDATE tessera.meta SET value = '2' WHERE key = 'schema';
