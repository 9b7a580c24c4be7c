-- What all tenants of a database share, version 1. Run once, under a lock.
CREATE SCHEMA tessera;
GRANT USAGE ON SCHEMA tessera TO PUBLIC;
CREATE TABLE tessera.meta (key text PRIMARY KEY, value text NOT NULL);
INSERT INTO tessera.meta VALUES ('schema', '1');
-- A tenant's number is the first half of its advisory locks' keys; it is never used again.
CREATE TABLE tessera.tenants (
  number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL UNIQUE, schema text NOT NULL UNIQUE
);
CREATE TABLE tessera.roles (role text PRIMARY KEY, tenant integer NOT NULL);

-- The dialect's functions, where the server's own differ.
CREATE AGGREGATE tessera.sum(bigint) (
  SFUNC = int8pl, STYPE = bigint, COMBINEFUNC = int8pl, PARALLEL = SAFE
);
CREATE AGGREGATE tessera.sum(double precision) (
  SFUNC = float8pl, STYPE = double precision, COMBINEFUNC = float8pl, PARALLEL = SAFE
);
CREATE FUNCTION tessera.round(x double precision) RETURNS double precision
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
  AS 'SELECT CASE WHEN x < 0 THEN -floor(0.5 - x) ELSE floor(x + 0.5) END';

-- Makes a plug-in's role in a tenant, unless it is there.
CREATE FUNCTION tessera.make_role(subject integer, in_schema text, named text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = named) THEN
    EXECUTE format('CREATE ROLE %I NOLOGIN ROLE %I', named, current_user);
    EXECUTE format('COMMENT ON ROLE %I IS %L', named, 'tessera ' || current_database());
  END IF;
  INSERT INTO tessera.roles VALUES (named, subject) ON CONFLICT (role) DO NOTHING;
  IF NOT has_schema_privilege(named, in_schema, 'USAGE') THEN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', in_schema, named);
  END IF;
END $$;
REVOKE ALL ON FUNCTION tessera.make_role FROM PUBLIC;

-- Lets a role read a view.
CREATE FUNCTION tessera.grant_view(in_schema text, view text, named text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  IF NOT has_table_privilege(named, format('%I.%I', in_schema, view), 'SELECT') THEN
    EXECUTE format('GRANT SELECT ON %I.%I TO %I', in_schema, view, named);
  END IF;
END $$;
REVOKE ALL ON FUNCTION tessera.grant_view FROM PUBLIC;
