-- name: settle
-- For the length of a transaction: one core at most, no compiling, and a plan for these very parameters.
SET TRANSACTION READ ONLY;
SET LOCAL jit = off;
SET LOCAL max_parallel_workers_per_gather = 0;
SET LOCAL plan_cache_mode = force_custom_plan;

-- name: cluster_exists
-- Whether there is such a cluster, or was within the retention.
SELECT EXISTS (SELECT FROM clusters WHERE id = $1);

-- name: availability
-- From $1 to $2, of the cluster $3 or (NULL) of all: in each bucket of $5 seconds, counted from $4, how many clusters more
-- or less are in each state at its end (n), and the seconds that these changes come after its beginning (s). A row
-- `outage` has how many began, and the length of the longest. docs/decisions/0008-availability.md says what is what.
WITH fleet AS (
    SELECT c.id, tstzmultirange(tstzrange(c.first_seen_at, greatest(c.first_seen_at, least(c.gone_at, $2::timestamptz))))
        - coalesce((
            SELECT range_agg(tstzrange(a.gone_at, greatest(a.gone_at, a.back_at))) FROM absences a
            WHERE a.cluster_id = c.id), '{}') AS present
    FROM clusters c
    WHERE ($3::uuid IS NULL OR c.id = $3) AND c.first_seen_at < $2 AND coalesce(c.gone_at > $1::timestamptz, true)
),
-- Since the first vigil, all time that is in none. The newest one is that of the leader who asks.
away AS (
    SELECT coalesce(tstzmultirange(tstzrange(min(v.began_at), NULL)) - range_agg(tstzrange(v.began_at,
        CASE WHEN v.newest THEN NULL ELSE greatest(v.began_at, v.seen_at + v.allowance_s * interval '1 s') END)),
        '{}') AS nobody
    FROM (SELECT vigils.*, id = max(id) OVER () AS newest FROM vigils) v
),
-- The changes of each cluster, in the order in which they were committed; first the state that it had before all of them.
-- That is the newest state before, or the one that the first change left, or (where history has aged out) that of now.
changes AS (
    SELECT t.cluster_id, t.id, least(t.since, t.at) AS moment, t.to_health AS health FROM transitions t
    WHERE t.check_name = 'apiserver' AND t.at > $1 - interval '1 day' AND least(t.since, t.at) < $2
        AND ($3 IS NULL OR t.cluster_id = $3)
    UNION ALL
    SELECT f.id, 0, '-infinity', coalesce(
        (SELECT t.to_health FROM transitions t
            WHERE t.cluster_id = f.id AND t.check_name = 'apiserver' AND t.at <= $1 - interval '1 day'
            ORDER BY t.id DESC LIMIT 1),
        (SELECT t.from_health FROM transitions t
            WHERE t.cluster_id = f.id AND t.check_name = 'apiserver' AND t.at > $1 - interval '1 day'
            ORDER BY t.id LIMIT 1),
        (SELECT s.health FROM check_states s WHERE s.cluster_id = f.id AND s.check_name = 'apiserver'),
        'Unknown')
    FROM fleet f
),
-- No change comes before the one that was committed before it, whatever the clock said.
moments AS (
    SELECT cluster_id, id, health, max(moment) OVER (PARTITION BY cluster_id ORDER BY id) AS moment FROM changes
),
spans AS (
    SELECT cluster_id, health,
        tstzrange(moment, lead(moment, 1, $2) OVER (PARTITION BY cluster_id ORDER BY id)) AS span
    FROM moments
),
known AS (
    SELECT cluster_id,
        coalesce(range_agg(span) FILTER (WHERE health IN ('Healthy', 'Degraded')), '{}') AS up,
        coalesce(range_agg(span) FILTER (WHERE health IN ('Unhealthy', 'Unreachable')), '{}') AS down
    FROM spans GROUP BY cluster_id
),
pausing AS (
    SELECT cluster_id, range_agg(tstzrange(begins_at, greatest(begins_at, coalesce(least(ended_at, until), 'infinity'))))
        AS paused
    FROM pauses WHERE begins_at < $2 AND ($3 IS NULL OR cluster_id = $3) GROUP BY cluster_id
),
judged AS (
    SELECT f.id, f.present * coalesce(p.paused, '{}') AS paused, f.present - coalesce(p.paused, '{}') AS judged
    FROM fleet f LEFT JOIN pausing p ON p.cluster_id = f.id
),
shares AS MATERIALIZED (
    SELECT j.paused, j.judged, j.judged * k.up - nobody AS up, j.judged * k.down - nobody AS down,
        j.judged * k.down AS outages
    FROM judged j JOIN known k ON k.cluster_id = j.id CROSS JOIN away
),
pieces AS (
    SELECT 'paused' AS kind, unnest(paused * tstzmultirange(tstzrange($1, $2))) AS span FROM shares
    UNION ALL SELECT 'judged', unnest(judged * tstzmultirange(tstzrange($1, $2))) FROM shares
    UNION ALL SELECT 'up', unnest(up * tstzmultirange(tstzrange($1, $2))) FROM shares
    UNION ALL SELECT 'down', unnest(down * tstzmultirange(tstzrange($1, $2))) FROM shares
),
edges AS (
    SELECT kind, sign, date_part('epoch', moment) AS moment,
        floor((date_part('epoch', moment) - $4::float8) / $5::float8)::int AS bucket
    FROM pieces CROSS JOIN LATERAL (VALUES (1, lower(span)), (-1, upper(span))) AS edge(sign, moment)
    WHERE moment < $2
)
SELECT kind, bucket, sum(sign)::int AS n, sum(sign * (moment - $4 - bucket * $5)) AS s FROM edges GROUP BY kind, bucket
UNION ALL
SELECT 'outage', 0,
    (SELECT count(*)::int FROM (SELECT unnest(outages) AS span FROM shares) o
        WHERE lower(span) >= $1 AND lower(span) < $2),
    (SELECT coalesce(max(date_part('epoch', upper(span)) - date_part('epoch', lower(span))), 0)
        FROM pieces WHERE kind = 'down');

-- name: begin_vigil
-- As the leader of epoch $1, at $2, with facts that stand for $3 seconds. Gives nothing where another instance leads.
INSERT INTO vigils (epoch, began_at, seen_at, allowance_s)
SELECT $1, to_timestamp($2::float8), to_timestamp($2::float8), $3 FROM leadership WHERE epoch = $1 FOR SHARE
RETURNING id;

-- name: go_on_with_vigil
-- As the leader of epoch $1: the vigil $2 goes on at $3.
UPDATE vigils SET seen_at = greatest(seen_at, to_timestamp($3::float8))
WHERE id = $2 AND EXISTS (SELECT FROM leadership WHERE epoch = $1 FOR SHARE);

-- name: forget_vigils
-- Those that another one, too, followed before $1; the gap after the last of them is still needed.
DELETE FROM vigils v WHERE EXISTS (SELECT FROM vigils n WHERE n.id > v.id AND n.began_at < to_timestamp($1::float8));
