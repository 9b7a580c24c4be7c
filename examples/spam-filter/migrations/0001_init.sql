-- What was sent of late: one row for each sender and text.
CREATE TABLE spamfilter_texts (
  sender text NOT NULL,
  digest text NOT NULL,
  times bigint NOT NULL,
  first_ms bigint NOT NULL,
  PRIMARY KEY (sender, digest)
);
CREATE INDEX spamfilter_texts_by_age ON spamfilter_texts (first_ms);

-- Who was refused, for the administrator.
CREATE TABLE spamfilter_refusals (
  sender text NOT NULL PRIMARY KEY,
  times bigint NOT NULL,
  last_ms bigint NOT NULL
);
