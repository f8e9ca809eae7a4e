-- API tokens, the audit log, and what was answered to requests that may be sent twice.
-- min_code_version: 1

-- The secret itself is nowhere: `sha256` finds it. A name is unique among the tokens that still work; no index can say
-- that, since tokens expire by themselves, so a create holds the table's lock.
CREATE TABLE api_tokens (
    id           uuid PRIMARY KEY,
    name         text NOT NULL,
    prefix       text NOT NULL,
    sha256       bytea NOT NULL UNIQUE,
    role         text NOT NULL,
    created_at   timestamptz NOT NULL,
    created_by   text NOT NULL,
    expires_at   timestamptz,           -- NULL: never
    last_used_at timestamptz,           -- to the minute
    revoked_at   timestamptz
);

-- Append-only. Ordered by id: `at` may go back where a clock is corrected.
CREATE TABLE audit_log (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL,
    who     text NOT NULL,
    kind    text NOT NULL,
    role    text NOT NULL,
    source  text NOT NULL,
    action  text NOT NULL,
    subject text NOT NULL,
    before  jsonb,
    after   jsonb,
    outcome text NOT NULL
);
CREATE INDEX audit_log_at ON audit_log (at);
CREATE INDEX audit_log_who ON audit_log (who, id DESC);
CREATE INDEX audit_log_subject ON audit_log (subject, id DESC);

-- One row a request that had an Idempotency-Key; status and body are NULL while it is under way.
CREATE TABLE idempotency_keys (
    key         text NOT NULL,
    principal   text NOT NULL,
    route       text NOT NULL,
    body_sha256 bytea NOT NULL,
    status      integer,
    body        bytea,
    at          timestamptz NOT NULL,
    PRIMARY KEY (principal, key)
);
CREATE INDEX idempotency_keys_at ON idempotency_keys (at);
