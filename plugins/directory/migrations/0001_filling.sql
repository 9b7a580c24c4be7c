-- How far the index of names has been filled with users who were there before: one row.
CREATE TABLE directory_filling (
  id bigint PRIMARY KEY,
  -- The last user who was looked at, in the order of ids.
  last text NOT NULL,
  done boolean NOT NULL
);
INSERT INTO directory_filling (id, last, done) VALUES (1, '', FALSE);
