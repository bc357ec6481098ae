-- SyncValue: models that were fitted to order logs, and the customers that each knows.

CREATE TABLE value_models (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    -- From 1, in the order in which they were saved.
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    -- When it was last put in force; 0 for one that is not, or whose promotion was taken back. The latest is in force.
    promoted_at BIGINT NOT NULL,
    currency TEXT NOT NULL,
    -- JSON, by the type of the same name.
    parameters TEXT NOT NULL,
    -- JSON, by the type of the same name: how far the data determine the parameters.
    covariances TEXT NOT NULL,
    -- Decimal numbers.
    purchases_log_likelihood TEXT NOT NULL,
    gamma_gamma_log_likelihood TEXT NOT NULL,
    -- Of the order log, in hexadecimal.
    data_sha256 TEXT NOT NULL,
    orders BIGINT NOT NULL,
    customers BIGINT NOT NULL,
    -- The last day that counted, as 1997-09-30.
    calibrate_until TEXT NOT NULL,
    -- JSON: how well it did in its hold-out; empty where there was none.
    figures TEXT NOT NULL,
    -- JSON: what was bought a day, of all customers together.
    revenue TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE UNIQUE INDEX value_models_by_version ON value_models (tenant, version);
CREATE INDEX value_models_by_time ON value_models (tenant, created_at, id);
CREATE INDEX value_models_in_force ON value_models (tenant, promoted_at);

CREATE TABLE value_customer (
    tenant TEXT NOT NULL,
    model TEXT NOT NULL,
    -- The person's handle.
    subject TEXT NOT NULL,
    -- From 0 in the order of the customer ids' bytes, which only who can open them knows.
    position BIGINT NOT NULL,
    -- What they bought, sealed under their key: frequency, recency and age in days as 32 bits each and the sum of the
    -- repeat purchases in millionths as 64 bits, little-endian.
    sealed {{BYTES}} NOT NULL,
    PRIMARY KEY (tenant, model, subject),
    FOREIGN KEY (tenant, model) REFERENCES value_models (tenant, id)
);
CREATE UNIQUE INDEX value_customer_by_position ON value_customer (tenant, model, position);
CREATE INDEX value_customer_of ON value_customer (tenant, subject);
