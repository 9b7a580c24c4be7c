-- Users whom administrators hold back, or who are no more, for those who act for them later.
CREATE VIEW accounts_v1_restricted AS
  SELECT user_id, deactivated, locked, suspended, shadow_banned FROM accounts_users
  WHERE deactivated = TRUE OR locked = TRUE OR suspended = TRUE OR shadow_banned = TRUE;
