-- SyncValue: models that were fitted to order logs, and the customers that each knows.

CREATE TABLE value_models (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    currency TEXT NOT NULL,
    -- JSON, by the type of the same name.
    parameters TEXT NOT NULL,
    -- Decimal numbers.
    bgnbd_log_likelihood TEXT NOT NULL,
    gamma_gamma_log_likelihood TEXT NOT NULL,
    -- Of the order log, in hexadecimal.
    data_sha256 TEXT NOT NULL,
    orders BIGINT NOT NULL,
    customers BIGINT NOT NULL,
    -- The last day that counted, as 1997-09-30.
    calibrate_until TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX value_models_by_time ON value_models (tenant, created_at, id);

CREATE TABLE value_customers (
    tenant TEXT NOT NULL,
    model TEXT NOT NULL,
    customer_id TEXT NOT NULL,
    -- From 0 in the order of the ids' bytes: how databases order text differs.
    position BIGINT NOT NULL,
    frequency BIGINT NOT NULL CHECK (frequency >= 0),
    recency_days BIGINT NOT NULL CHECK (recency_days >= 0),
    age_days BIGINT NOT NULL CHECK (age_days >= recency_days),
    -- The sum of the repeat purchases.
    repeat_micros BIGINT NOT NULL CHECK (repeat_micros >= 0),
    PRIMARY KEY (tenant, model, customer_id),
    FOREIGN KEY (tenant, model) REFERENCES value_models (tenant, id)
);
CREATE UNIQUE INDEX value_customers_by_position ON value_customers (tenant, model, position);
