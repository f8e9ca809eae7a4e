-- Statements of `collector.agents`.

-- name: make_hub_id
-- Give the hub its id, if it has none.
INSERT INTO hub_identity (id) VALUES ($1) ON CONFLICT DO NOTHING;

-- name: hub_id
-- Who this hub is.
SELECT id FROM hub_identity;

-- name: forget_orphans
-- As the leader of epoch $1: agents of clusters that nobody knows any more, and what removed ones have told.
WITH held AS (SELECT true FROM leadership WHERE epoch = $1 FOR SHARE),
orphans AS (
    DELETE FROM agents a USING held
    WHERE a.name IS NULL AND NOT EXISTS (SELECT FROM clusters c WHERE c.id = a.cluster_id)
)
DELETE FROM check_states s USING held
WHERE (s.check_name = 'agent' OR s.evidence ->> 'method' = 'agent')
    AND NOT EXISTS (SELECT FROM agents a WHERE a.cluster_id = s.cluster_id);

-- name: read_agents
-- All of them.
SELECT cluster_id, name, namespace, service_account, jwks, issuer,
    extract(epoch FROM registered_at)::float8 AS registered_at, registered_by,
    boots, version, extract(epoch FROM last_report_at)::float8 AS last_report_at, skew_s
FROM agents;

-- name: fence_off
-- A row if $1 is the leader's epoch, and no commit of ours is under way any more: each holds the row shared.
SELECT true FROM leadership WHERE epoch = $1 FOR UPDATE;

-- name: insert_agent
-- As the leader of epoch $1. Gives nothing where the cluster ($2) or the name ($3) has one, or another instance leads.
INSERT INTO agents (cluster_id, name, namespace, service_account, jwks, issuer, registered_at, registered_by)
SELECT $2::uuid, $3::text, $4::text, $5::text, $6::jsonb, $7::text, to_timestamp($8::float8), $9::text
FROM leadership WHERE epoch = $1 FOR SHARE
ON CONFLICT DO NOTHING
RETURNING cluster_id;

-- name: remove_agent
-- As the leader of epoch $1: the agent of the cluster $2, and what it has told of the cluster.
WITH removed AS (
    DELETE FROM agents WHERE cluster_id = $2 AND EXISTS (SELECT FROM leadership WHERE epoch = $1 FOR SHARE)
    RETURNING cluster_id
),
state AS (
    DELETE FROM check_states s USING removed r
    WHERE s.cluster_id = r.cluster_id AND (s.check_name = 'agent' OR s.evidence ->> 'method' = 'agent')
)
SELECT cluster_id FROM removed;

-- name: note_heard
-- As the leader of epoch $1: what was heard of agents ($2, JSON).
UPDATE agents a SET boots = s.boots, version = s.version, last_report_at = to_timestamp(s.last_report_at),
    skew_s = s.skew_s
FROM jsonb_to_recordset($2::jsonb) AS s(
    cluster_id uuid, boots jsonb, version text, last_report_at float8, skew_s float8)
WHERE a.cluster_id = s.cluster_id AND EXISTS (SELECT FROM leadership WHERE epoch = $1 FOR SHARE);
