CREATE TABLE compatv01_notes (
    id bigint NOT NULL PRIMARY KEY,
    note text NOT NULL,
    position bigint NOT NULL
);
