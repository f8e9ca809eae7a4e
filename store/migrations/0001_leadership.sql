-- Who leads, and how often the lead has changed hands. Every write of a leader is fenced by the epoch:
-- it reads its row FOR SHARE in the same transaction, so that a new leader's increment waits for what is under way
-- and everything later of the old one is refused.
CREATE TABLE leadership (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    epoch bigint NOT NULL,
    holder text NOT NULL,
    since timestamptz NOT NULL
);

INSERT INTO leadership (epoch, holder, since) VALUES (0, '', now());
