-- One-time keys that devices have uploaded lately, claimed ones among them: who repeats an upload whose answer was lost does not put
-- back what somebody has been given. `hash`: of the key without its signatures.
CREATE TABLE keys_uploaded (
    user_id text NOT NULL,
    device_id text NOT NULL,
    algorithm text NOT NULL,
    key_id text NOT NULL,
    hash text NOT NULL,
    uploaded_ms bigint NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (user_id, device_id, algorithm, key_id)
);
CREATE INDEX keys_uploaded_by_age ON keys_uploaded (user_id, device_id, uploaded_ms, position);
