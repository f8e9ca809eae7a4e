-- What history alone can't tell about availability: when a cluster was not in the fleet, and when nobody looked.

-- A cluster that was gone and came back. Its `gone_at` is empty again then; here is what it was.
CREATE TABLE absences (
    cluster_id uuid NOT NULL REFERENCES clusters ON DELETE CASCADE,
    gone_at    timestamptz NOT NULL,
    back_at    timestamptz NOT NULL
);
CREATE INDEX absences_cluster ON absences (cluster_id);

-- A stretch of time in which one leader looked, written on every few seconds. What lies between two, less the
-- allowance of a fact, nobody saw.
CREATE TABLE vigils (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    epoch       bigint NOT NULL,
    began_at    timestamptz NOT NULL,
    seen_at     timestamptz NOT NULL,
    allowance_s double precision NOT NULL
);

-- Rows come in the order of `at`: a few pages say which blocks of a month hold a day.
CREATE INDEX transitions_at ON transitions USING brin (at) WITH (pages_per_range = 32, autosummarize = on);
