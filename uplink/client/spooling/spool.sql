-- name: read_consent
-- Which consent holds for all instances.
SELECT epoch, consent FROM uplink_consent;

-- name: lock_consent
-- The same, for whoever changes it: one at a time, and after everybody who adds under it.
SELECT epoch, consent FROM uplink_consent FOR UPDATE;

-- name: hold_consent
-- A row if epoch $1 of consent $2 holds, which then stays so until the end of this transaction.
SELECT true FROM uplink_consent WHERE epoch = $1 AND consent = $2 FOR SHARE;

-- name: set_consent
-- Another one holds: $2 of epoch $1, or none.
UPDATE uplink_consent SET epoch = $1, consent = $2;

-- name: anything
-- Whether there is anything to empty.
SELECT EXISTS (SELECT FROM uplink_spool) OR EXISTS (SELECT FROM uplink_marks) OR EXISTS (SELECT FROM uplink_counts);

-- name: empty
-- All of it goes at once: pages and not rows, so nothing is left in them.
TRUNCATE uplink_spool, uplink_marks, uplink_counts;

-- name: add_batch
-- Once.
INSERT INTO uplink_spool (span, batch_id, consent, epoch, stream, dictionary, records, made_at, sha256, body, bytes)
VALUES (1048576, $1, $2, $3, $4, $5, $6, to_timestamp($7), $8, $9::bytea, octet_length($9::bytea))
ON CONFLICT (batch_id) DO NOTHING;

-- name: waiting_bytes
-- How much waits.
SELECT coalesce(sum(bytes), 0)::bigint FROM uplink_spool WHERE quarantine IS NULL;

-- name: drop_oldest
-- Those before which the newest have $1 bytes go; gives their records.
WITH gone AS (
    DELETE FROM uplink_spool USING (
        SELECT ordinal AS old, sum(bytes) OVER (ORDER BY ordinal DESC) AS so_far FROM uplink_spool WHERE quarantine IS NULL
    ) AS summed
    WHERE ordinal = summed.old AND summed.so_far > $1 RETURNING records
)
SELECT coalesce(sum(records), 0)::bigint FROM gone;

-- name: drop_aged
-- What was made before $1 goes; gives the records of those that waited.
WITH gone AS (
    DELETE FROM uplink_spool WHERE made_at < to_timestamp($1) RETURNING records, quarantine
)
SELECT coalesce(sum(records) FILTER (WHERE quarantine IS NULL), 0)::bigint FROM gone;

-- name: drop_streams
-- What is of another stream than $1 goes; gives the records of those that waited.
WITH gone AS (
    DELETE FROM uplink_spool WHERE stream <> ALL($1::text[]) RETURNING records, quarantine
)
SELECT coalesce(sum(records) FILTER (WHERE quarantine IS NULL), 0)::bigint FROM gone;

-- name: next_waiting
-- After ordinal $3, the oldest $4 of consent $1 and streams $2, without their bodies.
SELECT ordinal, batch_id, stream, dictionary, records, extract(epoch FROM made_at)::float8 AS made_at, sha256, failures, epoch
FROM uplink_spool WHERE quarantine IS NULL AND consent = $1 AND stream = ANY($2::text[]) AND ordinal > $3
ORDER BY ordinal LIMIT $4;

-- name: body_of
-- The bytes of one.
SELECT body FROM uplink_spool WHERE ordinal = $1;

-- name: delete_batch
-- It was received, or will never be; gives its records.
DELETE FROM uplink_spool WHERE batch_id = $1 RETURNING records;

-- name: place_of
-- Where it stands.
SELECT ordinal, span FROM uplink_spool WHERE batch_id = $1 FOR UPDATE;

-- name: add_part
-- In the place of another.
INSERT INTO uplink_spool (ordinal, span, batch_id, consent, epoch, stream, dictionary, records, made_at, sha256, body, bytes)
VALUES ($10, $11, $1, $2, $3, $4, $5, $6, to_timestamp($7), $8, $9::bytea, octet_length($9::bytea));

-- name: failed_once_more
-- Gives how often in a row.
UPDATE uplink_spool SET failures = failures + 1 WHERE batch_id = $1 RETURNING failures;

-- name: quarantine
-- It is not sent any more, because of $2; gives its records.
UPDATE uplink_spool SET quarantine = $2 WHERE batch_id = $1 AND quarantine IS NULL RETURNING records;

-- name: bound_quarantine
-- Of those in quarantine only the newest $1 stay, and of these only $2 bytes.
DELETE FROM uplink_spool USING (
    SELECT ordinal AS old, sum(bytes) OVER (ORDER BY ordinal DESC) AS so_far, row_number() OVER (ORDER BY ordinal DESC) AS nth
    FROM uplink_spool WHERE quarantine IS NOT NULL
) AS summed
WHERE ordinal = summed.old AND (summed.nth > $1 OR summed.so_far > $2);

-- name: count
-- $2 more records were not sent because of $1.
INSERT INTO uplink_counts (why, count) VALUES ($1, $2)
ON CONFLICT (why) DO UPDATE SET count = uplink_counts.count + excluded.count;

-- name: counts
-- What was not sent.
SELECT why, count FROM uplink_counts ORDER BY why;

-- name: save_mark
-- How far gathering of stream $1 has come.
INSERT INTO uplink_marks (stream, mark) VALUES ($1, $2) ON CONFLICT (stream) DO UPDATE SET mark = excluded.mark;

-- name: mark
-- The same, read.
SELECT mark FROM uplink_marks WHERE stream = $1;

-- name: backlog
-- What waits, and what is in quarantine.
SELECT count(*) FILTER (WHERE quarantine IS NULL) AS batches,
    coalesce(sum(bytes) FILTER (WHERE quarantine IS NULL), 0)::bigint AS bytes,
    extract(epoch FROM min(made_at) FILTER (WHERE quarantine IS NULL))::float8 AS oldest_at,
    count(*) FILTER (WHERE quarantine IS NOT NULL) AS quarantined
FROM uplink_spool;
