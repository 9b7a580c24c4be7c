-- Who sees whose presence beside those who share a room. `wanted`: the viewer's wish rather than the subject's route.
CREATE TABLE presence_routes (
    user_id text NOT NULL,
    viewer text NOT NULL,
    wanted boolean NOT NULL,
    PRIMARY KEY (user_id, viewer, wanted)
);
CREATE INDEX presence_routes_by_viewer ON presence_routes (viewer, wanted);
CREATE VIEW presence_v1_routes AS SELECT user_id, viewer FROM presence_routes;
