-- SyncValue: orders that came after a model was fitted, and trainings.

CREATE TABLE value_order (
    tenant TEXT NOT NULL,
    -- A keyed hash of the order's id.
    order_key TEXT NOT NULL,
    -- The person's handle.
    subject TEXT NOT NULL,
    recorded_at BIGINT NOT NULL,
    -- Day and worth, sealed under the person's key: the day as 32 bits, counted from 1970, whether it counts as 8 bits, and
    -- millionths as 64 bits, little-endian.
    sealed {{BYTES}} NOT NULL,
    PRIMARY KEY (tenant, order_key)
);
CREATE INDEX value_order_of ON value_order (tenant, subject);

-- How far the orders that came go: customers who have none by then were silent until then.
CREATE TABLE value_feed (
    tenant TEXT NOT NULL,
    until_day BIGINT NOT NULL,
    PRIMARY KEY (tenant)
);

CREATE TABLE value_training (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'done', 'failed')),
    created_at BIGINT NOT NULL,
    -- Whoever runs it is gone if it is still running then.
    lease_until BIGINT NOT NULL,
    -- The model that came of it; 0 as long as there is none.
    version BIGINT NOT NULL,
    -- Why it failed, in words that hold nothing of the order log.
    problem TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX value_training_by_time ON value_training (tenant, created_at);
