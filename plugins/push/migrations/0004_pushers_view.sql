-- For administrators.
CREATE VIEW push_v1_pushers AS
    SELECT user_id, app_id, pushkey, device_id, kind, enabled, content, created_ms FROM push_pushers;
