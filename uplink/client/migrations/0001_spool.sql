-- What waits to be sent, under which consent, and how far gathering has come.
-- min_code_version: 1

-- One row. Nobody sends whose consent is not this one, and nothing is added under another: adding holds the row.
-- It only ever forbids: the file of a host is what permits.
CREATE TABLE uplink_consent (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    epoch    bigint NOT NULL,
    consent  uuid                            -- NULL: telemetry is off
);
INSERT INTO uplink_consent (epoch) VALUES (0);

-- A batch takes a span of ordinals, so that what it is cut into stands where it stood.
CREATE SEQUENCE uplink_ordinals INCREMENT 1048576 MINVALUE 1048576;
CREATE TABLE uplink_spool (
    ordinal    bigint PRIMARY KEY,
    span       bigint NOT NULL,
    batch_id   uuid NOT NULL UNIQUE,
    consent    uuid NOT NULL,
    epoch      bigint NOT NULL,
    stream     text NOT NULL,
    dictionary text NOT NULL,
    records    integer NOT NULL,
    made_at    timestamptz NOT NULL,
    sha256     bytea NOT NULL,               -- of the protobuf
    body       bytea NOT NULL,               -- the same in gzip
    bytes      integer NOT NULL,             -- of the body: sums must not read bodies
    failures   integer NOT NULL DEFAULT 0,   -- in a row, that were this batch's own
    quarantine text                          -- why it is not sent any more; NULL: it waits
);
ALTER TABLE uplink_spool ALTER body SET STORAGE EXTERNAL;
CREATE INDEX uplink_spool_waiting ON uplink_spool (ordinal) INCLUDE (bytes, records) WHERE quarantine IS NULL;

-- How far gathering of a stream has come; written with the batches that it has become.
CREATE TABLE uplink_marks (
    stream text PRIMARY KEY,
    mark   jsonb NOT NULL
);

-- Records that were not sent, since the consent.
CREATE TABLE uplink_counts (
    why   text PRIMARY KEY,
    count bigint NOT NULL
);
