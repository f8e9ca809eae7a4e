-- name: load_clusters
-- Every cluster that is not gone.
SELECT id, name, source, endpoint, external_uid, labels, lifecycle, extract(epoch FROM first_seen_at)::float8 AS first_seen_at
FROM clusters WHERE gone_at IS NULL;

-- name: load_endpoints
-- The keys of every cluster that is not gone; first of a cluster's keys the one that it is asked by.
SELECT e.endpoint, e.ca_sha256, e.cluster_id FROM cluster_endpoints e JOIN clusters c ON c.id = e.cluster_id
WHERE c.gone_at IS NULL ORDER BY split_part(e.endpoint, '#', 1) <> c.endpoint, 1, 2;

-- name: fence
-- A row if $1 is the leader's epoch, which then stays so until the end of this transaction.
SELECT true FROM leadership WHERE epoch = $1 FOR SHARE;

-- name: save_clusters
-- Insert or rewrite a batch of clusters ($1). One that comes back begins anew: a state that a late write left is none.
WITH s AS (
    SELECT * FROM jsonb_to_recordset($1::jsonb) AS s(
        id uuid, name text, source text, endpoint text, external_uid text, labels jsonb, lifecycle text,
        first_seen_at float8)
),
left_over AS (
    DELETE FROM check_states USING s, clusters c
    WHERE check_states.cluster_id = s.id AND c.id = s.id AND c.gone_at IS NOT NULL
),
pairs_left_over AS (
    DELETE FROM pair_states USING s, clusters c
    WHERE pair_states.cluster_id = s.id AND c.id = s.id AND c.gone_at IS NOT NULL
),
absent AS (
    INSERT INTO absences (cluster_id, gone_at, back_at)
    SELECT c.id, c.gone_at, now() FROM s JOIN clusters c ON c.id = s.id AND c.gone_at IS NOT NULL
)
INSERT INTO clusters (id, name, source, endpoint, external_uid, labels, lifecycle, first_seen_at)
SELECT s.id, s.name, s.source, s.endpoint, s.external_uid, s.labels, s.lifecycle, to_timestamp(s.first_seen_at) FROM s
ON CONFLICT (id) DO UPDATE SET name = excluded.name, source = excluded.source, endpoint = excluded.endpoint,
    external_uid = excluded.external_uid, labels = excluded.labels, lifecycle = excluded.lifecycle, gone_at = NULL;

-- name: save_endpoints
-- Point keys at their clusters ($1).
INSERT INTO cluster_endpoints (endpoint, ca_sha256, cluster_id)
SELECT s.endpoint, s.ca_sha256, s.cluster_id
FROM jsonb_to_recordset($1::jsonb) AS s(endpoint text, ca_sha256 text, cluster_id uuid)
ON CONFLICT (endpoint, ca_sha256) DO UPDATE SET cluster_id = excluded.cluster_id;

-- name: retire_clusters
-- Mark clusters as gone and forget their states; their history stays.
WITH retired AS (
    UPDATE clusters SET gone_at = now(), lifecycle = 'Gone' WHERE id = ANY($1::uuid[]) RETURNING id
),
of_pairs AS (
    DELETE FROM pair_states WHERE cluster_id IN (SELECT id FROM retired)
)
DELETE FROM check_states WHERE cluster_id IN (SELECT id FROM retired);

-- name: find_gone
-- Clusters that are gone but were known by one of these keys ($1): a context that comes back is the same cluster.
SELECT e.endpoint, e.ca_sha256, c.id, c.external_uid, extract(epoch FROM c.first_seen_at)::float8 AS first_seen_at
FROM jsonb_to_recordset($1::jsonb) AS s(endpoint text, ca_sha256 text)
JOIN cluster_endpoints e USING (endpoint, ca_sha256) JOIN clusters c ON c.id = e.cluster_id
WHERE c.gone_at IS NOT NULL;

-- name: load_states
-- The newest state of every check of every subject that is not gone. What stands in braces is in state_sql.py.
SELECT s.* FROM {states} s JOIN {living};

-- name: load_state
-- One state again, after somebody else changed it.
SELECT * FROM {states} WHERE ({key}) = ({values});

-- name: save_states
-- A batch of states ($1, JSON as text) without a change of health; `was` is the version that each must still have, and $2 the leader's
-- epoch. Gives those that were refused. An UPDATE looks at a row again after it has waited for it; ON CONFLICT DO UPDATE
-- would write over what was committed meanwhile.
WITH s AS (
    SELECT * FROM jsonb_to_recordset($1::text::jsonb) AS s(
        cluster_id uuid, location_id uuid, check_name text, health text, since float8, reason text, stage text,
        message text, evidence jsonb, latest jsonb, streak int, streak_since float8, last_known text, last_success_at float8,
        observed_at float8, received_at float8, allowance_s float8, flap_bits int, flapping bool, flap_last text,
        changes bigint, was bigint)
),
fence AS (SELECT true AS held FROM leadership WHERE epoch = $2 FOR SHARE),
updated AS (
    UPDATE {states} c SET
        health = s.health, since = s.since, reason = s.reason, stage = s.stage, message = s.message,
        evidence = s.evidence, latest = s.latest, streak = s.streak, streak_since = s.streak_since,
        last_known = s.last_known, last_success_at = s.last_success_at, observed_at = s.observed_at,
        received_at = s.received_at, allowance_s = s.allowance_s, flap_bits = s.flap_bits, flapping = s.flapping,
        flap_last = s.flap_last, changes = s.changes
    FROM s WHERE ({c.key}) = ({s.key}) AND c.changes = s.was
        AND (SELECT held FROM fence)
    RETURNING {c.key}
),
created AS (
    INSERT INTO {states} (
        {key}, health, since, reason, stage, message, evidence, latest, streak, streak_since,
        last_known, last_success_at, observed_at, received_at, allowance_s, flap_bits, flapping, flap_last, changes)
    SELECT {s.key}, s.health, s.since, s.reason, s.stage, s.message, s.evidence, s.latest, s.streak,
        s.streak_since, s.last_known, s.last_success_at, s.observed_at, s.received_at, s.allowance_s, s.flap_bits,
        s.flapping, s.flap_last, s.changes
    FROM s JOIN {living}
    WHERE s.was = 0 AND (SELECT held FROM fence)
    {hold}
    ON CONFLICT ({key}) DO NOTHING
    RETURNING {key}
)
SELECT {key} FROM s
EXCEPT (SELECT {key} FROM updated UNION ALL SELECT {key} FROM created);

-- name: commit_transition
-- One change of health: the state ($1, if it still has version $3) and its history row ($4), or nothing. One statement, one transaction.
WITH state AS (
    INSERT INTO {states} (
        {key}, health, since, reason, stage, message, evidence, latest, streak, streak_since,
        last_known, last_success_at, observed_at, received_at, allowance_s, flap_bits, flapping, flap_last, changes)
    SELECT {s.key}, s.health, s.since, s.reason, s.stage, s.message, s.evidence, s.latest, s.streak,
        s.streak_since, s.last_known, s.last_success_at, s.observed_at, s.received_at, s.allowance_s, s.flap_bits,
        s.flapping, s.flap_last, s.changes
    FROM jsonb_to_record($1::jsonb) AS s(
        cluster_id uuid, location_id uuid, check_name text, health text, since float8, reason text, stage text,
        message text, evidence jsonb, latest jsonb, streak int, streak_since float8, last_known text, last_success_at float8,
        observed_at float8, received_at float8, allowance_s float8, flap_bits int, flapping bool, flap_last text,
        changes bigint)
    JOIN {living}
    LEFT JOIN {states} o ON ({o.key}) = ({s.key})
    WHERE EXISTS (SELECT 1 FROM leadership WHERE epoch = $2 FOR SHARE) AND coalesce(o.changes, 0) = $3
    {hold}
    ON CONFLICT ({key}) DO UPDATE SET
        health = excluded.health, since = excluded.since, reason = excluded.reason, stage = excluded.stage,
        message = excluded.message, evidence = excluded.evidence, latest = excluded.latest, streak = excluded.streak,
        streak_since = excluded.streak_since, last_known = excluded.last_known,
        last_success_at = excluded.last_success_at, observed_at = excluded.observed_at,
        received_at = excluded.received_at, allowance_s = excluded.allowance_s, flap_bits = excluded.flap_bits,
        flapping = excluded.flapping, flap_last = excluded.flap_last, changes = excluded.changes
        WHERE {states}.changes = $3
    RETURNING cluster_id, check_name, changes
)
INSERT INTO transitions (
    at, cluster_id, cluster_name, location_id, location_name, check_name, from_health, to_health, since, reason, stage,
    message, evidence, flapping, collapsed, changes)
SELECT to_timestamp(t.at), state.cluster_id, t.cluster_name, t.location_id, t.location_name, state.check_name,
    t.from_health, t.to_health, to_timestamp(t.since), t.reason, t.stage, t.message, coalesce(t.evidence, '{}'),
    t.flapping, t.collapsed, state.changes
FROM state, jsonb_to_record($4::jsonb) AS t(
    at float8, cluster_name text, location_id uuid, location_name text, from_health text, to_health text, since float8,
    reason text, stage text, message text, evidence jsonb, flapping bool, collapsed int)
RETURNING id;

-- name: epoch
-- Who leads: a write that was refused by the fence asks this before it says "conflict".
SELECT epoch FROM leadership;

-- name: fence_off
-- A row if $1 is the leader's epoch, once no commit of it is under way any more: those share this lock.
SELECT true FROM leadership WHERE epoch = $1 FOR UPDATE;

-- name: newest_transition
-- The id with which history ends; 0 before it begins.
SELECT coalesce(max(id), 0) FROM transitions;

-- name: find_transition
-- The transition that made one of the versions $3 of one check: was a commit whose answer was lost done after all? Its
-- id is above $4; below, a cluster that was gone and came back may have had the same versions.
SELECT id, extract(epoch FROM at)::float8 AS at, cluster_id, cluster_name, location_id, location_name, check_name,
    from_health, to_health, extract(epoch FROM since)::float8 AS since, reason, stage, message, evidence, flapping, collapsed, changes
FROM transitions WHERE cluster_id = $1 AND check_name = $2 AND location_id IS NOT DISTINCT FROM $5::uuid
    AND changes = ANY($3::bigint[]) AND id > $4
ORDER BY id DESC LIMIT 1;

-- name: history
-- The newest transitions of all clusters, older than the id $2; at most $1. Noticed from $3 until before $4 (seconds since
-- the epoch, or infinite); of the checks $5 and to the healths $6 only, where these are not NULL.
SELECT id, extract(epoch FROM at)::float8 AS at, cluster_id, cluster_name, location_id, location_name, check_name,
    from_health, to_health, extract(epoch FROM since)::float8 AS since, reason, stage, message, evidence, flapping, collapsed, changes
FROM transitions WHERE id < $2
    AND at >= to_timestamp($3) AND at < to_timestamp($4)
    AND ($5::text[] IS NULL OR check_name = ANY($5)) AND ($6::text[] IS NULL OR to_health = ANY($6))
ORDER BY id DESC LIMIT $1;

-- name: cluster_history
-- The newest transitions of one cluster ($7), or of one of its pairs ($8, where not NULL); all else as in `history`.
SELECT id, extract(epoch FROM at)::float8 AS at, cluster_id, cluster_name, location_id, location_name, check_name,
    from_health, to_health, extract(epoch FROM since)::float8 AS since, reason, stage, message, evidence, flapping, collapsed, changes
FROM transitions WHERE cluster_id = $7 AND ($8::uuid IS NULL OR location_id = $8) AND id < $2
    AND at >= to_timestamp($3) AND at < to_timestamp($4)
    AND ($5::text[] IS NULL OR check_name = ANY($5)) AND ($6::text[] IS NULL OR to_health = ANY($6))
ORDER BY id DESC LIMIT $1;

-- name: location_history
-- The newest transitions of all pairs of one location ($7); all else as in `history`.
SELECT id, extract(epoch FROM at)::float8 AS at, cluster_id, cluster_name, location_id, location_name, check_name,
    from_health, to_health, extract(epoch FROM since)::float8 AS since, reason, stage, message, evidence, flapping, collapsed, changes
FROM transitions WHERE location_id = $7 AND id < $2
    AND at >= to_timestamp($3) AND at < to_timestamp($4)
    AND ($5::text[] IS NULL OR check_name = ANY($5)) AND ($6::text[] IS NULL OR to_health = ANY($6))
ORDER BY id DESC LIMIT $1;

-- name: history_after
-- The oldest transitions of all clusters with an id above $1; at most $2.
SELECT id, extract(epoch FROM at)::float8 AS at, cluster_id, cluster_name, location_id, location_name, check_name,
    from_health, to_health, extract(epoch FROM since)::float8 AS since, reason, stage, message, evidence, flapping, collapsed, changes
FROM transitions WHERE id > $1 ORDER BY id LIMIT $2;

-- name: oldest_transition_id
-- The id with which the history that is kept begins; NULL if there is none.
SELECT min(id) FROM transitions;

-- name: oldest_transition
-- When the oldest change that is kept was noticed.
SELECT extract(epoch FROM at)::float8 FROM transitions ORDER BY id LIMIT 1;

-- name: partitions
-- The monthly partitions that exist.
SELECT c.relname::text AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'transitions'::regclass AND c.relname ~ '^transitions_\d{6}$' ORDER BY 1;

-- name: forget_other
-- What fell outside every month ages all the same.
DELETE FROM transitions_other WHERE at < $1;

-- name: move_other
-- What a wrong clock has put into a month that had no partition yet, from $1 to $2, into its table.
WITH early AS (DELETE FROM transitions_other WHERE at >= $1 AND at < $2 RETURNING *)
INSERT INTO {month} SELECT * FROM early;

-- name: forget_gone
-- Clusters that are gone for so long that their history is gone too.
DELETE FROM clusters WHERE gone_at < $1;

-- name: load_pauses
-- The pauses that nobody has ended; of these clusters ($1), or of all.
SELECT id, cluster_id, reason, by_whom, extract(epoch FROM begins_at)::float8 AS begins_at,
    extract(epoch FROM until)::float8 AS until, version
FROM pauses WHERE ended_at IS NULL AND ($1::uuid[] IS NULL OR cluster_id = ANY($1));

-- name: begin_pause
-- As the leader of epoch $1. Gives nothing where the cluster has an open pause, or another instance leads.
INSERT INTO pauses (cluster_id, reason, by_whom, begins_at, until)
SELECT $2::uuid, $3::text, $4::text, to_timestamp($5::float8), to_timestamp($6::float8)
FROM leadership WHERE epoch = $1 FOR SHARE
ON CONFLICT (cluster_id) WHERE ended_at IS NULL DO NOTHING
RETURNING id, cluster_id, reason, by_whom, extract(epoch FROM begins_at)::float8 AS begins_at,
    extract(epoch FROM until)::float8 AS until, version;

-- name: change_pause
-- As the leader of epoch $1, if the pause $2 still has version $3 and is open.
UPDATE pauses SET reason = $4, by_whom = $5, until = to_timestamp($6::float8), version = version + 1
WHERE id = $2 AND version = $3 AND ended_at IS NULL
    AND EXISTS (SELECT FROM leadership WHERE epoch = $1 FOR SHARE)
RETURNING id, cluster_id, reason, by_whom, extract(epoch FROM begins_at)::float8 AS begins_at,
    extract(epoch FROM until)::float8 AS until, version;

-- name: end_pause
-- As the leader of epoch $1, if the pause $2 still has version $3 and is open.
UPDATE pauses SET ended_at = to_timestamp($4::float8), ended_by = $5, version = version + 1
WHERE id = $2 AND version = $3 AND ended_at IS NULL
    AND EXISTS (SELECT FROM leadership WHERE epoch = $1 FOR SHARE)
RETURNING id;

-- name: end_passed_pauses
-- As the leader of epoch $1: those whose `until` has passed at $2. Gives their clusters.
UPDATE pauses SET ended_at = until, version = version + 1
WHERE ended_at IS NULL AND until <= to_timestamp($2::float8)
    AND EXISTS (SELECT FROM leadership WHERE epoch = $1 FOR SHARE)
RETURNING id, cluster_id;

-- name: forget_pauses
-- What ended before $1, and what is left of clusters that are forgotten themselves.
DELETE FROM pauses p
WHERE p.ended_at < $1 OR p.begins_at < $1 AND NOT EXISTS (SELECT FROM clusters c WHERE c.id = p.cluster_id);
