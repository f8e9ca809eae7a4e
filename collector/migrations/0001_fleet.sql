-- Clusters, the newest state of each check, and the history of health changes.
-- min_code_version: 1

CREATE TABLE clusters (
    id            uuid PRIMARY KEY,
    name          text NOT NULL,
    source        text NOT NULL,
    endpoint      text NOT NULL,
    external_uid  text,
    labels        jsonb NOT NULL DEFAULT '{}',
    lifecycle     text NOT NULL,
    first_seen_at timestamptz NOT NULL,
    gone_at       timestamptz
);

-- A cluster is known by where it answers and whom it is signed by; several such keys may lead to one cluster.
CREATE TABLE cluster_endpoints (
    endpoint   text NOT NULL,
    ca_sha256  text NOT NULL,
    cluster_id uuid NOT NULL REFERENCES clusters ON DELETE CASCADE,
    PRIMARY KEY (endpoint, ca_sha256)
);
CREATE INDEX cluster_endpoints_cluster ON cluster_endpoints (cluster_id);

-- One row a check, rewritten once a second at most: room on the page keeps the updates HOT. Instants are seconds since
-- the epoch on the hub clock, as in validator.health.CheckState.
CREATE TABLE check_states (
    cluster_id      uuid NOT NULL REFERENCES clusters ON DELETE CASCADE,
    check_name      text NOT NULL,
    health          text NOT NULL,
    since           double precision NOT NULL,
    reason          text,
    stage           text,
    message         text NOT NULL,
    evidence        jsonb,            -- NULL: that of `latest`
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
    PRIMARY KEY (cluster_id, check_name)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.5);

-- Append-only. No foreign key: history outlives the cluster. Ordered by id: `at` may go back where a clock is corrected.
CREATE TABLE transitions (
    id           bigint GENERATED ALWAYS AS IDENTITY,
    at           timestamptz NOT NULL,
    cluster_id   uuid NOT NULL,
    cluster_name text NOT NULL,
    check_name   text NOT NULL,
    from_health  text NOT NULL,
    to_health    text NOT NULL,
    since        timestamptz NOT NULL,
    reason       text,
    stage        text,
    message      text NOT NULL,
    evidence     jsonb NOT NULL,
    flapping     boolean NOT NULL,
    collapsed    integer NOT NULL,   -- changes in between that were never committed, because the database was away
    changes      bigint NOT NULL,    -- the check's version that this transition made; 1 again after its cluster was gone
    PRIMARY KEY (id, at)
) PARTITION BY RANGE (at);
CREATE INDEX transitions_cluster ON transitions (cluster_id, id DESC);

-- Catches what falls outside every month, so that a wrong clock can't stop the service.
CREATE TABLE transitions_other PARTITION OF transitions DEFAULT;
