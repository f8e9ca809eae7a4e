-- The last validation job of each pair: somebody wanted to know of it now.

-- It goes with the assignment. A new job takes the row of the one before, with the next `number`: of two readings of a
-- pair the higher one is the newer. Instants are seconds since the epoch on the hub clock, as in check_states.
CREATE TABLE validation_jobs (
    location_id uuid NOT NULL,
    cluster_id  uuid NOT NULL,
    id          uuid NOT NULL,
    number      bigint GENERATED ALWAYS AS IDENTITY,
    state       text NOT NULL,
    method      text NOT NULL,          -- agent, resource or direct; '' before it is known who asks
    asked_at    double precision NOT NULL,
    by_whom     text NOT NULL,
    began_at    double precision,
    ended_at    double precision,
    reason      text,
    stage       text,
    message     text NOT NULL,
    PRIMARY KEY (location_id, cluster_id),
    FOREIGN KEY (location_id, cluster_id) REFERENCES assignments ON DELETE CASCADE
) WITH (fillfactor = 70);
