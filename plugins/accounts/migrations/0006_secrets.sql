-- From now on `accounts_uia.session` and `accounts_validations.client_secret` hold hashes; what is open in the clear is begun anew.
-- Of a session that registered somebody: when, the device, and the account's revision then. For that long the answer can be had again.
ALTER TABLE accounts_uia ADD COLUMN made_ms bigint NOT NULL DEFAULT 0;
ALTER TABLE accounts_uia ADD COLUMN made_device text NOT NULL DEFAULT '';
ALTER TABLE accounts_uia ADD COLUMN made_revision bigint NOT NULL DEFAULT 0;
