-- name: make_org
-- The organisation $1 exists from $2 on, if it did not before.
INSERT INTO receiver_orgs (id, created_at) VALUES ($1, to_timestamp($2)) ON CONFLICT DO NOTHING;

-- name: create_activation
-- A new token.
INSERT INTO receiver_activations (id, org_id, prefix, sha256, created_at, expires_at, needs_approval, installation_id)
VALUES ($1, $2, $3, $4, to_timestamp($5), to_timestamp($6), $7, $8);

-- name: count_activations
-- How many of organisation $1 can still be used at $2.
SELECT count(*) FROM receiver_activations
WHERE org_id = $1 AND used_at IS NULL AND revoked_at IS NULL AND expires_at > to_timestamp($2);

-- name: list_activations
-- The newest, at most $2, of organisation $1 or, where that is NULL, of all.
SELECT id, org_id, prefix, extract(epoch FROM created_at)::float8 AS created_at,
    extract(epoch FROM expires_at)::float8 AS expires_at, needs_approval,
    extract(epoch FROM revoked_at)::float8 AS revoked_at, extract(epoch FROM used_at)::float8 AS used_at,
    installation_id, extract(epoch FROM approved_at)::float8 AS approved_at
FROM receiver_activations WHERE $1::text IS NULL OR org_id = $1 ORDER BY created_at DESC, id LIMIT $2;

-- name: lock_activation
-- The token with this hash ($1), to be used in this transaction.
SELECT id, org_id, extract(epoch FROM expires_at)::float8 AS expires_at, needs_approval, revoked_at IS NOT NULL AS revoked,
    extract(epoch FROM used_at)::float8 AS used_at, csr_sha256, installation_id, approved_at IS NOT NULL AS approved
FROM receiver_activations WHERE sha256 = $1 FOR UPDATE;

-- name: use_activation
-- It is good for this CSR only, from $2 on.
UPDATE receiver_activations SET used_at = to_timestamp($2), csr_sha256 = $3, installation_id = $4 WHERE id = $1;

-- name: approve_activation
-- Let the CSR that waits have its certificate; a row if there was one.
UPDATE receiver_activations SET approved_at = to_timestamp($2)
WHERE id = $1 AND used_at IS NOT NULL AND approved_at IS NULL AND revoked_at IS NULL RETURNING org_id, installation_id;

-- name: revoke_activation
-- It works no more; a row if there is one.
UPDATE receiver_activations SET revoked_at = coalesce(revoked_at, to_timestamp($2)) WHERE id = $1
RETURNING org_id, installation_id;

-- name: make_installation
-- The installation $1 belongs to the organisation $2, if to nobody before.
INSERT INTO receiver_installations (id, org_id, created_at) VALUES ($1, $2, to_timestamp($3)) ON CONFLICT DO NOTHING;

-- name: lock_installation
-- Whose it is. Who adds a certificate waits for who is adding or ending one; who brings a batch does not.
SELECT org_id FROM receiver_installations WHERE id = $1 FOR NO KEY UPDATE;

-- name: hold_certificate
-- A row if the one with this hash ($1) works, which then stays so until the end of this transaction.
SELECT true FROM receiver_certificates WHERE sha256 = $1 AND revoked_at IS NULL FOR SHARE;

-- name: save_certificate
-- One that was just signed.
INSERT INTO receiver_certificates
    (sha256, serial, org_id, installation_id, csr_sha256, der, issued_at, ends_at)
VALUES ($1, $2, $3, $4, $5, $6, to_timestamp($7), to_timestamp($8));

-- name: find_certificate
-- The one with this hash ($1).
SELECT org_id, installation_id, extract(epoch FROM ends_at)::float8 AS ends_at, revoked_why
FROM receiver_certificates WHERE sha256 = $1;

-- name: answered
-- The certificate that this very CSR ($2) of installation $1 has got, and whether it works at $3.
SELECT der, revoked_at IS NULL AND ends_at > to_timestamp($3) AS works FROM receiver_certificates
WHERE installation_id = $1 AND csr_sha256 = $2 ORDER BY issued_at DESC LIMIT 1;

-- name: count_certificates
-- How many of the installation $1 work at $2.
SELECT count(*) FROM receiver_certificates
WHERE installation_id = $1 AND revoked_at IS NULL AND ends_at > to_timestamp($2);

-- name: revoke_installation
-- All certificates of $1 end, for the reason $3; gives how many there were.
WITH ended AS (
    UPDATE receiver_certificates SET revoked_at = to_timestamp($2), revoked_why = $3
    WHERE installation_id = $1 AND revoked_at IS NULL RETURNING 1
)
SELECT count(*) FROM ended;

-- name: revoke_serial
-- This one certificate ends; a row if it worked.
UPDATE receiver_certificates SET revoked_at = to_timestamp($2), revoked_why = $3
WHERE serial = $1 AND revoked_at IS NULL RETURNING org_id, installation_id;

-- name: revoke_org
-- All certificates of the organisation end.
WITH ended AS (
    UPDATE receiver_certificates SET revoked_at = to_timestamp($2), revoked_why = $3
    WHERE org_id = $1 AND revoked_at IS NULL RETURNING 1
)
SELECT count(*) FROM ended;

-- name: revoke_activations
-- The tokens of organisation $1 end; gives how many could still be used, or waited for approval.
WITH ended AS (
    UPDATE receiver_activations SET revoked_at = to_timestamp($2) WHERE org_id = $1 AND revoked_at IS NULL
    RETURNING used_at IS NULL AND expires_at > to_timestamp($2) AS usable,
        used_at IS NOT NULL AND needs_approval AND approved_at IS NULL AS waiting
)
SELECT count(*) FROM ended WHERE usable OR waiting;

-- name: save_batch
-- Once: no row if this id is there already.
INSERT INTO receiver_batches (installation_id, batch_id, org_id, signal, received_at, raw_sha256, body, forward)
VALUES ($1, $2, $3, $4, to_timestamp($5), $6, $7, $8) ON CONFLICT DO NOTHING RETURNING true;

-- name: find_batch
-- What came under this id before.
SELECT raw_sha256 FROM receiver_batches WHERE installation_id = $1 AND batch_id = $2;

-- name: take_room
-- $2 bytes more of organisation $1, unless it has over $3 then; a row if there was room.
UPDATE receiver_orgs SET stored_bytes = stored_bytes + $2 WHERE id = $1 AND stored_bytes + $2 <= $3 RETURNING true;

-- name: save_clusters
-- Clusters ($3) that an installation ($1) of $2 has told of, seen at $4; what is told of them replaces what was.
INSERT INTO receiver_clusters (installation_id, uid, org_id, attributes, first_seen_at, last_seen_at)
SELECT $1, s.uid, $2, s.attributes, to_timestamp($4::float8), to_timestamp($4::float8)
FROM jsonb_to_recordset($3::jsonb) AS s(uid text, attributes jsonb) ORDER BY s.uid
ON CONFLICT (installation_id, uid) DO UPDATE SET last_seen_at = greatest(receiver_clusters.last_seen_at, excluded.last_seen_at),
    attributes = CASE WHEN excluded.attributes = '{}' THEN receiver_clusters.attributes ELSE excluded.attributes END;

-- name: save_health
-- Of what was seen ($3) keep what is a change, and is not older than what is known.
WITH seen AS (
    SELECT s.uid, s.health, s.at, lag(s.health) OVER (PARTITION BY s.uid ORDER BY s.at) AS before
    FROM jsonb_to_recordset($3::jsonb) AS s(uid text, health text, at float8)
),
changed AS (
    SELECT seen.uid, seen.health, seen.at FROM seen JOIN receiver_clusters c ON c.installation_id = $1 AND c.uid = seen.uid
    WHERE coalesce(seen.before, c.health) IS DISTINCT FROM seen.health
        AND (c.health_at IS NULL OR to_timestamp(seen.at) > c.health_at)
),
saved AS (
    INSERT INTO receiver_health (installation_id, uid, at, org_id, health, received_at)
    SELECT $1, uid, to_timestamp(at), $2, health, to_timestamp($4::float8) FROM changed ON CONFLICT DO NOTHING
)
UPDATE receiver_clusters c SET health = newest.health, health_at = to_timestamp(newest.at)
FROM (SELECT DISTINCT ON (uid) uid, health, at FROM seen ORDER BY uid, at DESC) AS newest
WHERE c.installation_id = $1 AND c.uid = newest.uid AND (c.health_at IS NULL OR to_timestamp(newest.at) > c.health_at);

-- name: save_logs
-- Log records ($3).
INSERT INTO receiver_logs (installation_id, org_id, at, received_at, severity, event, body, attributes)
SELECT $1, $2, to_timestamp(s.at), to_timestamp($4::float8), s.severity, s.event, s.body, s.attributes
FROM jsonb_to_recordset($3::jsonb) AS s(at float8, severity text, event text, body text, attributes jsonb);

-- name: forget_batches
-- What was received of installation $1 goes, and its room with it; gives how many batches there were.
WITH gone AS (
    DELETE FROM receiver_batches WHERE installation_id = $1 RETURNING org_id, octet_length(body) AS bytes
),
room AS (
    UPDATE receiver_orgs o SET stored_bytes = o.stored_bytes - g.bytes
    FROM (SELECT org_id, sum(bytes) AS bytes FROM gone GROUP BY 1) AS g WHERE o.id = g.org_id
)
SELECT count(*) FROM gone;

-- name: forget_clusters
-- The same of its clusters.
DELETE FROM receiver_clusters WHERE installation_id = $1;

-- name: forget_health
-- The same of their health.
DELETE FROM receiver_health WHERE installation_id = $1;

-- name: forget_logs
-- The same of its log records.
DELETE FROM receiver_logs WHERE installation_id = $1;

-- name: installations_of
-- Of the organisation $1.
SELECT id FROM receiver_installations WHERE org_id = $1 ORDER BY id;

-- name: retire_batches
-- At most $2 of those received before $1; gives how many there were.
WITH old AS (
    SELECT installation_id, batch_id FROM receiver_batches WHERE received_at < to_timestamp($1)
    ORDER BY received_at LIMIT $2 FOR UPDATE SKIP LOCKED
),
gone AS (
    DELETE FROM receiver_batches b USING old
    WHERE b.installation_id = old.installation_id AND b.batch_id = old.batch_id
    RETURNING b.org_id, octet_length(b.body) AS bytes
),
room AS (
    UPDATE receiver_orgs o SET stored_bytes = o.stored_bytes - g.bytes
    FROM (SELECT org_id, sum(bytes) AS bytes FROM gone GROUP BY 1) AS g WHERE o.id = g.org_id
)
SELECT count(*) FROM gone;

-- name: retire_logs
-- Log records received before $1.
DELETE FROM receiver_logs WHERE received_at < to_timestamp($1);

-- name: retire_health
-- Changes of health received before $1.
DELETE FROM receiver_health WHERE received_at < to_timestamp($1);

-- name: retire_clusters
-- Clusters that nobody has told of since $1.
DELETE FROM receiver_clusters WHERE last_seen_at < to_timestamp($1);

-- name: retire_certificates
-- Certificates that ended before $1.
DELETE FROM receiver_certificates WHERE ends_at < to_timestamp($1);

-- name: retire_activations
-- Tokens that ended before $1, used or not.
DELETE FROM receiver_activations WHERE expires_at < to_timestamp($1) AND coalesce(used_at, expires_at) < to_timestamp($1);

-- name: next_waiting
-- The oldest batch that another backend is to have.
SELECT installation_id, batch_id, signal, body FROM receiver_batches WHERE forward = 'waiting'
ORDER BY ordinal LIMIT 1;

-- name: forwarded
-- It has been taken (NULL), or never will be ('dead').
UPDATE receiver_batches SET forward = $3 WHERE installation_id = $1 AND batch_id = $2;

-- name: bury_waiting
-- Of those that wait, all but the newest $1 are dead; gives how many.
WITH buried AS (
    UPDATE receiver_batches b SET forward = 'dead'
    FROM (SELECT installation_id, batch_id FROM receiver_batches WHERE forward = 'waiting'
          ORDER BY ordinal DESC OFFSET $1) AS old
    WHERE b.installation_id = old.installation_id AND b.batch_id = old.batch_id RETURNING 1
)
SELECT count(*) FROM buried;

-- name: count_more
-- $2 more of what is counted as $1.
INSERT INTO receiver_counts (name, count) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET count = receiver_counts.count + excluded.count;

-- name: counts
-- What was counted.
SELECT name, count FROM receiver_counts ORDER BY name;

-- name: show_orgs
-- All organisations, at most $2, with what works at $1.
SELECT o.id, o.stored_bytes,
    (SELECT count(*) FROM receiver_installations i WHERE i.org_id = o.id) AS installations,
    (SELECT count(*) FROM receiver_certificates c
     WHERE c.org_id = o.id AND c.revoked_at IS NULL AND c.ends_at > to_timestamp($1)) AS certificates,
    (SELECT count(*) FROM receiver_activations a
     WHERE a.org_id = o.id AND a.needs_approval AND a.used_at IS NOT NULL AND a.approved_at IS NULL
        AND a.revoked_at IS NULL) AS waiting,
    (SELECT extract(epoch FROM max(b.received_at))::float8 FROM receiver_batches b WHERE b.org_id = o.id) AS received_at
FROM receiver_orgs o ORDER BY o.id LIMIT $2;

-- name: show_org
-- One of them.
SELECT id, stored_bytes FROM receiver_orgs WHERE id = $1;

-- name: show_installations
-- Installations of $1, at most $3: their newest certificate that works at $2, and what was received.
SELECT i.id, extract(epoch FROM i.created_at)::float8 AS created_at, c.serial,
    extract(epoch FROM c.ends_at)::float8 AS ends_at, b.batches, extract(epoch FROM b.received_at)::float8 AS received_at
FROM receiver_installations i
LEFT JOIN LATERAL (
    SELECT serial, ends_at FROM receiver_certificates c
    WHERE c.installation_id = i.id AND c.revoked_at IS NULL AND c.ends_at > to_timestamp($2)
    ORDER BY ends_at DESC LIMIT 1
) AS c ON true
CROSS JOIN LATERAL (
    SELECT count(*) AS batches, max(received_at) AS received_at FROM receiver_batches b WHERE b.installation_id = i.id
) AS b
WHERE i.org_id = $1 ORDER BY i.created_at DESC, i.id LIMIT $3;

-- name: show_clusters
-- Clusters of $1, at most $2, those that were heard of last first.
SELECT uid, installation_id, attributes, health, extract(epoch FROM health_at)::float8 AS health_at,
    extract(epoch FROM first_seen_at)::float8 AS first_seen_at, extract(epoch FROM last_seen_at)::float8 AS last_seen_at
FROM receiver_clusters WHERE org_id = $1 ORDER BY last_seen_at DESC, uid LIMIT $2;

-- name: show_health
-- Changes of health of $1 since $2, newest first, at most $3.
SELECT uid, health, extract(epoch FROM at)::float8 AS at FROM receiver_health
WHERE org_id = $1 AND at >= to_timestamp($2) ORDER BY at DESC, uid LIMIT $3;

-- name: show_logs
-- The newest log records of $1, at most $2.
SELECT extract(epoch FROM at)::float8 AS at, severity, event, body, attributes FROM receiver_logs
WHERE org_id = $1 ORDER BY at DESC, id DESC LIMIT $2;

-- name: note
-- A line of the audit log.
INSERT INTO receiver_audit (at, who, door, source, action, org_id, installation_id, about)
VALUES (to_timestamp($1), $2, $3, $4, $5, $6, $7, $8);

-- name: show_audit
-- The newest, at most $2, of organisation $1 or, where that is NULL, of all.
SELECT id, extract(epoch FROM at)::float8 AS at, who, door, source, action, org_id, installation_id, about
FROM receiver_audit WHERE $1::text IS NULL OR org_id = $1 ORDER BY id DESC LIMIT $2;
