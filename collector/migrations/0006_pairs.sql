-- What is known of pairs: a cluster and a backup location that it uses.

-- As check_states, a table of its own: the release before this one writes to that with the key that it has. A pair's
-- states go with its assignment.
CREATE TABLE pair_states (
    cluster_id      uuid NOT NULL,
    location_id     uuid NOT NULL,
    check_name      text NOT NULL,
    health          text NOT NULL,
    since           double precision NOT NULL,
    reason          text,
    stage           text,
    message         text NOT NULL,
    evidence        jsonb,
    latest          jsonb NOT NULL,
    streak          integer NOT NULL,
    streak_since    double precision,
    last_known      text,
    last_success_at double precision,
    observed_at     double precision NOT NULL,
    received_at     double precision NOT NULL,
    allowance_s     double precision NOT NULL,
    flap_bits       integer NOT NULL,
    flapping        boolean NOT NULL,
    flap_last       text,
    changes         bigint NOT NULL,
    PRIMARY KEY (cluster_id, location_id, check_name),
    FOREIGN KEY (location_id, cluster_id) REFERENCES assignments ON DELETE CASCADE
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.5);

-- History of pairs is history of their clusters, too, and in one order with it.
ALTER TABLE transitions ADD COLUMN location_id uuid, ADD COLUMN location_name text;
CREATE INDEX transitions_location ON transitions (location_id, id DESC) WHERE location_id IS NOT NULL;
