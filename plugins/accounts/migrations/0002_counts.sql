-- How many users there are, without deactivated ones. One row: the guard of the cap on them.
CREATE TABLE accounts_counts (
  id bigint NOT NULL PRIMARY KEY,
  users bigint NOT NULL
);
INSERT INTO accounts_counts (id, users) SELECT 1, COUNT(*) FROM accounts_users WHERE deactivated = FALSE;
