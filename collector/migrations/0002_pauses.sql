-- Who has taken which cluster out of judgement, and until when.
-- min_code_version: 1

-- No foreign key: a cluster that leaves the fleet by mistake is still paused when it comes back, and availability needs
-- the past. A pause has ended at least(ended_at, until), also where nobody has noticed yet.
CREATE TABLE pauses (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cluster_id uuid NOT NULL,
    reason     text NOT NULL,
    by_whom    text NOT NULL,
    begins_at  timestamptz NOT NULL,
    until      timestamptz,            -- NULL: until somebody resumes it
    ended_at   timestamptz,
    ended_by   text,                   -- NULL: `until` has passed
    version    integer NOT NULL DEFAULT 1
);
CREATE UNIQUE INDEX pauses_open ON pauses (cluster_id) WHERE ended_at IS NULL;
CREATE INDEX pauses_cluster ON pauses (cluster_id, begins_at);
