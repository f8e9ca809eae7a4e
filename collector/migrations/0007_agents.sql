-- Agents: which cluster has one, whose tokens are accepted for it, and what was heard last.
-- min_code_version: 1

-- Who this hub is: a token for one hub is of no use at another. Made once, in the first load.
CREATE TABLE hub_identity (
    id  uuid PRIMARY KEY,
    one boolean NOT NULL UNIQUE DEFAULT true CHECK (one)
);

-- No reference to clusters: one that only has its agent is registered before the inventory knows it.
CREATE TABLE agents (
    cluster_id      uuid PRIMARY KEY,
    name            text UNIQUE,        -- of a cluster that the hub can't reach; NULL: a source names the cluster
    namespace       text NOT NULL,
    service_account text NOT NULL,
    jwks            jsonb,              -- public keys only; NULL: read through the hub's own kubeconfig
    issuer          text,
    registered_at   timestamptz NOT NULL,
    registered_by   text NOT NULL,
    boots           jsonb NOT NULL DEFAULT '[]',    -- [id, newest sequence, verdicts dropped] of each, newest last
    version         text,
    last_report_at  timestamptz,
    skew_s          double precision    -- the agent's clock minus the hub's, as of the last report
);
