-- Sessions of several stages. `user_id`: who asked, empty if nobody in particular; `completed`: JSON object, by stage what it proved;
-- `kept`: JSON object, what the endpoint wants to know again in later requests; `revision` is the guard of the two;
-- `token`: a registration token that this session means to use; `made`: the user whom it registered.
ALTER TABLE accounts_uia ADD COLUMN user_id text NOT NULL DEFAULT '';
ALTER TABLE accounts_uia ADD COLUMN completed text NOT NULL DEFAULT '{}';
ALTER TABLE accounts_uia ADD COLUMN kept text NOT NULL DEFAULT '{}';
ALTER TABLE accounts_uia ADD COLUMN revision bigint NOT NULL DEFAULT 0;
ALTER TABLE accounts_uia ADD COLUMN token text NOT NULL DEFAULT '';
ALTER TABLE accounts_uia ADD COLUMN made text NOT NULL DEFAULT '';
CREATE INDEX accounts_uia_token ON accounts_uia (token) WHERE token <> '';
