-- SyncValue: what the last look at the model in force found.

CREATE TABLE value_drift (
    tenant TEXT NOT NULL,
    -- The model that was in force.
    model TEXT NOT NULL,
    looked_at BIGINT NOT NULL,
    -- The last day that was looked at, counted from 1970.
    until_day BIGINT NOT NULL,
    verdict TEXT NOT NULL CHECK (verdict IN ('too_early', 'steady', 'drifting')),
    PRIMARY KEY (tenant)
);
