-- name: working_tokens
-- What is kept in memory: tokens that work at $1, of roles that this release knows ($2).
SELECT id, name, sha256, role, extract(epoch FROM expires_at)::float8 AS expires_at
FROM api_tokens
WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > to_timestamp($1)) AND role = ANY($2::text[])
ORDER BY created_at DESC LIMIT $3;

-- name: list_tokens
-- The newest tokens, at most $2; those that work at $1 are never crowded out by those that don't.
SELECT id, name, prefix, role, extract(epoch FROM created_at)::float8 AS created_at, created_by,
    extract(epoch FROM expires_at)::float8 AS expires_at, extract(epoch FROM last_used_at)::float8 AS last_used_at,
    extract(epoch FROM revoked_at)::float8 AS revoked_at
FROM (
    SELECT * FROM api_tokens
    ORDER BY (revoked_at IS NOT NULL OR coalesce(expires_at <= to_timestamp($1), false)), created_at DESC LIMIT $2
) AS newest
ORDER BY created_at DESC, id;

-- name: lock_tokens
-- Until the end of the transaction nobody else creates one; reading goes on.
LOCK TABLE api_tokens IN SHARE ROW EXCLUSIVE MODE;

-- name: count_tokens
-- How many work at $1, and how many of them have the name $2.
SELECT count(*) AS working, count(*) FILTER (WHERE name = $2) AS of_this_name
FROM api_tokens WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > to_timestamp($1));

-- name: create_token
-- A new one.
INSERT INTO api_tokens (id, name, prefix, sha256, role, created_at, created_by, expires_at)
VALUES ($1, $2, $3, $4, $5, to_timestamp($6), $7, to_timestamp($8));

-- name: find_token
-- One of them, to be changed in this transaction.
SELECT id, name, prefix, role, extract(epoch FROM created_at)::float8 AS created_at, created_by,
    extract(epoch FROM expires_at)::float8 AS expires_at, extract(epoch FROM last_used_at)::float8 AS last_used_at,
    extract(epoch FROM revoked_at)::float8 AS revoked_at
FROM api_tokens WHERE id = $1 FOR UPDATE;

-- name: revoke_token
-- It works no more, from $2 on.
UPDATE api_tokens SET revoked_at = to_timestamp($2) WHERE id = $1;

-- name: note_used
-- When tokens ($1) were last used ($2), never going back: two instances see different uses.
UPDATE api_tokens t SET last_used_at = to_timestamp(u.at)
FROM unnest($1::uuid[], $2::float8[]) AS u(id, at)
WHERE t.id = u.id AND (t.last_used_at IS NULL OR t.last_used_at < to_timestamp(u.at));

-- name: forget_tokens
-- Those that ended before $1; what was done with them is in the audit log.
DELETE FROM api_tokens WHERE coalesce(revoked_at, expires_at) < to_timestamp($1);

-- name: write_audit
-- One write, or one that was refused.
INSERT INTO audit_log (at, who, kind, role, source, action, subject, before, after, outcome)
VALUES (to_timestamp($1), $2, $3, $4, $5, $6, $7, $8::jsonb, $9::jsonb, $10);

-- name: audit
-- The newest entries, at most $1, older than the id $2; each further parameter selects, unless it is NULL.
SELECT id, extract(epoch FROM at)::float8 AS at, who, kind, role, source, action, subject, before, after, outcome
FROM audit_log
WHERE id < $2 AND ($3::text IS NULL OR who = $3) AND ($4::text IS NULL OR action = $4)
    AND ($5::text IS NULL OR subject = $5) AND ($6::timestamptz IS NULL OR at >= $6)
    AND ($7::timestamptz IS NULL OR at < $7)
ORDER BY id DESC LIMIT $1;

-- name: forget_audit
-- What is older than the retention.
DELETE FROM audit_log WHERE at < to_timestamp($1);

-- name: claim_key
-- The request with this key ($1, of the principal $2) is under way from $5 on, unless it was seen since $6; a claim that
-- is older than $7 and has no answer is of an instance that is gone. A row if it is ours now.
INSERT INTO idempotency_keys AS k (key, principal, route, body_sha256, at)
VALUES ($1, $2, $3, $4, to_timestamp($5::float8))
ON CONFLICT (principal, key) DO UPDATE
SET route = excluded.route, body_sha256 = excluded.body_sha256, status = NULL, body = NULL, at = excluded.at
WHERE k.at < to_timestamp($6::float8)
    OR k.status IS NULL AND k.at < to_timestamp($7::float8) AND k.route = $3 AND k.body_sha256 = $4
RETURNING true;

-- name: find_key
-- What this key ($1, of the principal $2) stands for.
SELECT route, body_sha256, status, body FROM idempotency_keys WHERE key = $1 AND principal = $2;

-- name: keep_answer
-- The request with this key ($1, of the principal $2) was answered so.
UPDATE idempotency_keys SET status = $3, body = $4 WHERE key = $1 AND principal = $2;

-- name: free_key
-- Nothing was done for this key ($1, of the principal $2).
DELETE FROM idempotency_keys WHERE key = $1 AND principal = $2 AND status IS NULL;

-- name: forget_keys
-- Those that were seen before $1.
DELETE FROM idempotency_keys WHERE at < to_timestamp($1::float8);
