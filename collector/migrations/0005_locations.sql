-- Backup locations, and which clusters use which.
-- min_code_version: 1

-- Nothing secret is in it: `encryption_key` names a key that is kept elsewhere. A row whose deletion was asked for is
-- there until everything that belongs to it is gone.
CREATE TABLE locations (
    id              uuid PRIMARY KEY,
    name            text NOT NULL UNIQUE,
    provider        text NOT NULL,
    account         text,
    container       text NOT NULL,
    environment     text,
    resource_group  text,
    subscription_id text,
    region          text,
    endpoint        text,
    path_style      boolean NOT NULL,
    write_probe     boolean NOT NULL,
    encryption_key  text,
    sync            boolean NOT NULL,
    owner           text NOT NULL,
    bucket          text NOT NULL,      -- the same text for the same bucket, whatever it is called
    allow_shared    boolean NOT NULL,   -- another location may have this bucket: somebody said so
    created_at      timestamptz NOT NULL,
    created_by      text NOT NULL,
    deleting_at     timestamptz,        -- DeletePending since then
    deleting_by     text,
    version         integer NOT NULL DEFAULT 1
);
-- Of those who have not said so only one may have a bucket, also where two are created at once.
CREATE UNIQUE INDEX locations_bucket ON locations (bucket) WHERE NOT allow_shared;

-- What is unassigned vanishes; the audit log has the past. A location can't go before its assignments: the database
-- refuses that, too. A cluster that has left the fleet holds its locations until it is forgotten or unassigned.
CREATE TABLE assignments (
    location_id uuid NOT NULL REFERENCES locations,
    cluster_id  uuid NOT NULL REFERENCES clusters ON DELETE CASCADE,
    assigned_at timestamptz NOT NULL,
    by_whom     text NOT NULL,
    PRIMARY KEY (location_id, cluster_id)
);
CREATE INDEX assignments_cluster ON assignments (cluster_id);
