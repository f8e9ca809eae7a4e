-- Statements of `collector.retiring`, and what else is asked about pairs that are no more.

-- name: fence
-- A row if $1 is the leader's epoch, which then stays so until the end of this transaction.
SELECT true FROM leadership WHERE epoch = $1 FOR SHARE;

-- name: retire_checks
-- The states of checks of clusters ($1 clusters, $2 checks, in step).
DELETE FROM check_states s USING unnest($1::uuid[], $2::text[]) AS r(cluster_id, check_name)
WHERE s.cluster_id = r.cluster_id AND s.check_name = r.check_name;

-- name: retire_pair_checks
-- The states of checks of pairs ($1 clusters, $2 locations, $3 checks, in step).
DELETE FROM pair_states s USING unnest($1::uuid[], $2::uuid[], $3::text[]) AS r(cluster_id, location_id, check_name)
WHERE s.cluster_id = r.cluster_id AND s.location_id = r.location_id AND s.check_name = r.check_name;

-- name: former_users
-- Clusters from which the location $1 was ever known to answer or not, newest first, at most $2.
SELECT cluster_id FROM transitions WHERE location_id = $1 GROUP BY cluster_id ORDER BY max(id) DESC LIMIT $2;
