-- Identity keys of devices, JSON as uploaded. A device may have been removed and made anew under its id: rows whose `position` is
-- below that of the device (accounts_v1_devices) are of the one before, here and in the next two tables.
CREATE TABLE keys_devices (
    user_id text NOT NULL,
    device_id text NOT NULL,
    json text NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (user_id, device_id)
);

-- One-time keys that nobody has claimed yet. `position`: of their upload; they go in its order.
CREATE TABLE keys_one_time (
    user_id text NOT NULL,
    device_id text NOT NULL,
    algorithm text NOT NULL,
    key_id text NOT NULL,
    json text NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (user_id, device_id, algorithm, key_id)
);
CREATE INDEX keys_one_time_in_order ON keys_one_time (user_id, device_id, algorithm, position, key_id);
CREATE VIEW keys_v1_one_time_counts AS
    SELECT user_id, device_id, algorithm, COUNT(*) AS count FROM keys_one_time
    GROUP BY user_id, device_id, algorithm;

CREATE TABLE keys_fallback (
    user_id text NOT NULL,
    device_id text NOT NULL,
    algorithm text NOT NULL,
    key_id text NOT NULL,
    json text NOT NULL,
    used boolean NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (user_id, device_id, algorithm)
);
CREATE VIEW keys_v1_unused_fallback AS
    SELECT user_id, device_id, algorithm FROM keys_fallback WHERE used = FALSE;

-- Keys of users; `usage`: master, self_signing, user_signing. JSON as uploaded.
CREATE TABLE keys_cross_signing (
    user_id text NOT NULL,
    usage text NOT NULL,
    public_key text NOT NULL,
    json text NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (user_id, usage)
);

-- Signatures made later. `target_key`: a device id, or the public key of a master key; `signer_key`: such as `ed25519:DEVICE`.
CREATE TABLE keys_signatures (
    target_user text NOT NULL,
    target_key text NOT NULL,
    signer text NOT NULL,
    signer_key text NOT NULL,
    signature text NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (target_user, target_key, signer, signer_key)
);
CREATE INDEX keys_signatures_by_signer ON keys_signatures (signer, signer_key);

-- When the keys of a user or of a device of theirs last changed.
CREATE TABLE keys_device_lists (
    user_id text NOT NULL PRIMARY KEY,
    position bigint NOT NULL
);
CREATE INDEX keys_device_lists_by_position ON keys_device_lists (position);
CREATE VIEW keys_v1_device_lists AS SELECT user_id, position FROM keys_device_lists;

-- Messages that have not reached their device.
CREATE TABLE keys_to_device (
    user_id text NOT NULL,
    device_id text NOT NULL,
    position bigint NOT NULL,
    sender text NOT NULL,
    type text NOT NULL,
    content text NOT NULL,
    PRIMARY KEY (user_id, device_id, position)
);
CREATE VIEW keys_v1_to_device AS
    SELECT user_id, device_id, position, sender, type, content FROM keys_to_device;

-- Requests that have been done. `device_id` is empty for a service.
CREATE TABLE keys_transactions (
    user_id text NOT NULL,
    device_id text NOT NULL,
    type text NOT NULL,
    txn_id text NOT NULL,
    at_ms bigint NOT NULL,
    PRIMARY KEY (user_id, device_id, type, txn_id)
);
CREATE INDEX keys_transactions_by_age ON keys_transactions (at_ms);

-- Backups of room keys. `etag` guards every change; `keys` and `bytes` sum up the rows of the next table and their `size` (bytes of
-- `session_data`). Deleted ones stay by their number, so that it is not given out again.
CREATE TABLE keys_backups (
    user_id text NOT NULL,
    version bigint NOT NULL,
    algorithm text NOT NULL,
    auth_data text NOT NULL,
    etag bigint NOT NULL,
    keys bigint NOT NULL,
    bytes bigint NOT NULL,
    deleted boolean NOT NULL,
    PRIMARY KEY (user_id, version)
);
CREATE TABLE keys_backup_keys (
    user_id text NOT NULL,
    version bigint NOT NULL,
    room_id text NOT NULL,
    session_id text NOT NULL,
    first_message_index bigint NOT NULL,
    forwarded_count bigint NOT NULL,
    is_verified boolean NOT NULL,
    session_data text NOT NULL,
    size bigint NOT NULL,
    PRIMARY KEY (user_id, version, room_id, session_id)
);

-- The device that receives while none of the user's is there; its keys and messages are in the tables above.
CREATE TABLE keys_dehydrated (
    user_id text NOT NULL PRIMARY KEY,
    device_id text NOT NULL,
    device_data text NOT NULL,
    display_name text,
    position bigint NOT NULL
);

-- Changes that one user alone is told of: signatures by their user-signing key, and that key itself.
CREATE TABLE keys_private_changes (
    viewer text NOT NULL,
    user_id text NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (viewer, user_id)
);
CREATE INDEX keys_private_changes_by_position ON keys_private_changes (viewer, position);
CREATE VIEW keys_v1_private_changes AS SELECT viewer, user_id, position FROM keys_private_changes;
