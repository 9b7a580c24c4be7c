-- Account data of a room that is gone.
CREATE INDEX accounts_account_data_room ON accounts_account_data (room_id, user_id);
