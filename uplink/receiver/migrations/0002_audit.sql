-- Who has decided what at this receiver. Nothing in it refers to other tables: it outlives what it tells of.
-- min_code_version: 1

CREATE TABLE receiver_audit (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at              timestamptz NOT NULL,
    who             text NOT NULL,
    door            text NOT NULL,           -- how they came: command, est, otlp
    source          text NOT NULL,           -- the host of a command, else an address
    action          text NOT NULL,
    org_id          text,
    installation_id uuid,
    about           jsonb NOT NULL
);
CREATE INDEX receiver_audit_org ON receiver_audit (org_id, id);

CREATE FUNCTION receiver_audit_stays() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the audit log is only added to'; END $$;
CREATE TRIGGER receiver_audit_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON receiver_audit
    FOR EACH STATEMENT EXECUTE FUNCTION receiver_audit_stays();
