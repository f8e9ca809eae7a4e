-- Syncs: somebody lists the backups in a location. And the newest inventory of each.

-- One at a time a bucket, across locations: `holds` says which. Others wait in the order of their numbers. Of those that
-- have ended only the last of each location is kept. Instants are seconds since the epoch on the hub clock.
CREATE TABLE syncs (
    id          uuid PRIMARY KEY,
    number      bigint GENERATED ALWAYS AS IDENTITY,
    location_id uuid NOT NULL REFERENCES locations ON DELETE CASCADE,
    bucket      text NOT NULL,
    cluster_id  uuid,                   -- whose agent lists; NULL: the hub itself
    state       text NOT NULL,          -- Pending, InProgress, Succeeded, Failed
    holds       boolean NOT NULL,
    asked_at    double precision NOT NULL,
    by_whom     text NOT NULL,
    began_at    double precision,       -- it holds the bucket since then
    ended_at    double precision,
    listed      bigint NOT NULL DEFAULT 0,
    expected    bigint,                 -- as many as there were the last time
    reason      text,
    message     text NOT NULL DEFAULT '',
    CHECK (NOT holds OR state IN ('Pending', 'InProgress'))
);
CREATE UNIQUE INDEX syncs_bucket ON syncs (bucket) WHERE holds;
CREATE UNIQUE INDEX syncs_open ON syncs (location_id) WHERE state IN ('Pending', 'InProgress');
CREATE INDEX syncs_waiting ON syncs (bucket, number) WHERE state = 'Pending' AND NOT holds;
CREATE INDEX syncs_location ON syncs (location_id);

CREATE TABLE inventories (
    location_id uuid PRIMARY KEY REFERENCES locations ON DELETE CASCADE,
    cluster_id  uuid,                   -- whose agent listed; NULL: the hub itself
    at          double precision NOT NULL,
    took_s      double precision NOT NULL,
    document    jsonb NOT NULL
);
