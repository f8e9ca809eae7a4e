-- Who may send, with which certificates, and what was received.
-- min_code_version: 1

CREATE TABLE receiver_orgs (
    id           text PRIMARY KEY,
    created_at   timestamptz NOT NULL,
    stored_bytes bigint NOT NULL DEFAULT 0   -- of the bodies in receiver_batches; kept with them
);

-- An activation token and its one use. The secret is nowhere, only its SHA-256.
CREATE TABLE receiver_activations (
    id              uuid PRIMARY KEY,
    org_id          text NOT NULL REFERENCES receiver_orgs (id),
    prefix          text NOT NULL,
    sha256          bytea NOT NULL UNIQUE,
    created_at      timestamptz NOT NULL,
    expires_at      timestamptz NOT NULL,
    needs_approval  boolean NOT NULL,
    revoked_at      timestamptz,
    used_at         timestamptz,             -- from then on it is good for the CSR of csr_sha256 only
    csr_sha256      bytea,
    installation_id uuid,                    -- given with the token, or taken from the CSR at its use
    approved_at     timestamptz
);
CREATE INDEX receiver_activations_org ON receiver_activations (org_id, created_at);

CREATE TABLE receiver_installations (
    id         uuid PRIMARY KEY,
    org_id     text NOT NULL REFERENCES receiver_orgs (id),
    created_at timestamptz NOT NULL
);
CREATE INDEX receiver_installations_org ON receiver_installations (org_id);

-- Every client certificate that works or has worked: one that is not here is refused, whoever signed it.
CREATE TABLE receiver_certificates (
    sha256          bytea PRIMARY KEY,       -- of the DER
    serial          text NOT NULL UNIQUE,
    org_id          text NOT NULL REFERENCES receiver_orgs (id),
    installation_id uuid NOT NULL REFERENCES receiver_installations (id),
    csr_sha256      bytea NOT NULL,
    der             bytea NOT NULL,
    issued_at       timestamptz NOT NULL,
    ends_at         timestamptz NOT NULL,
    revoked_at      timestamptz,
    revoked_why     text
);
CREATE INDEX receiver_certificates_installation ON receiver_certificates (installation_id, ends_at);

CREATE TABLE receiver_batches (
    installation_id uuid NOT NULL REFERENCES receiver_installations (id),
    batch_id        uuid NOT NULL,
    ordinal         bigint GENERATED ALWAYS AS IDENTITY,   -- the order in which they came
    org_id          text NOT NULL,
    signal          text NOT NULL,
    received_at     timestamptz NOT NULL,
    raw_sha256      bytea NOT NULL,          -- of what was sent, unpacked: a repeated id must bring the same
    body            bytea NOT NULL,          -- gzip, stamped with organisation and installation
    forward         text,                    -- NULL: nobody wants it, or it has been taken; else waiting or dead
    PRIMARY KEY (installation_id, batch_id)
);
CREATE INDEX receiver_batches_received ON receiver_batches (received_at);
CREATE INDEX receiver_batches_waiting ON receiver_batches (ordinal) WHERE forward = 'waiting';

CREATE TABLE receiver_clusters (
    installation_id uuid NOT NULL REFERENCES receiver_installations (id),
    uid             text NOT NULL,
    org_id          text NOT NULL,
    attributes      jsonb NOT NULL,
    health          text,
    health_at       timestamptz,
    first_seen_at   timestamptz NOT NULL,
    last_seen_at    timestamptz NOT NULL,
    PRIMARY KEY (installation_id, uid)
);
CREATE INDEX receiver_clusters_org ON receiver_clusters (org_id, uid);

-- Changes only. `at` is the client's clock, `received_at` ours: retention goes by ours.
CREATE TABLE receiver_health (
    installation_id uuid NOT NULL REFERENCES receiver_installations (id),
    uid             text NOT NULL,
    at              timestamptz NOT NULL,
    org_id          text NOT NULL,
    health          text NOT NULL,
    received_at     timestamptz NOT NULL,
    PRIMARY KEY (installation_id, uid, at)
);
CREATE INDEX receiver_health_org ON receiver_health (org_id, at);
CREATE INDEX receiver_health_received ON receiver_health (received_at);

CREATE TABLE receiver_logs (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    installation_id uuid NOT NULL REFERENCES receiver_installations (id),
    org_id          text NOT NULL,
    at              timestamptz NOT NULL,
    received_at     timestamptz NOT NULL,
    severity        text NOT NULL,
    event           text NOT NULL,
    body            text NOT NULL,
    attributes      jsonb NOT NULL
);
CREATE INDEX receiver_logs_org ON receiver_logs (org_id, at);
CREATE INDEX receiver_logs_received ON receiver_logs (received_at);
CREATE INDEX receiver_logs_installation ON receiver_logs (installation_id);

-- What was counted over the receiver's life, by name.
CREATE TABLE receiver_counts (
    name  text PRIMARY KEY,
    count bigint NOT NULL
);
