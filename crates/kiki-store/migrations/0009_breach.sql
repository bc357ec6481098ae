-- Breaches of personal data (Art. 33(5) GDPR): what happened, whom it touches, who was told and when.
CREATE TABLE breach (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    aware_at BIGINT NOT NULL,
    -- 72 hours later.
    notify_by BIGINT NOT NULL,
    -- Codes.
    nature TEXT NOT NULL,
    categories TEXT NOT NULL,
    persons_about BIGINT NOT NULL,
    records_about BIGINT NOT NULL,
    risk TEXT NOT NULL CHECK (risk IN ('unlikely', 'likely', 'high')),
    -- Sealed.
    facts {{BYTES}} NOT NULL,
    effects {{BYTES}} NOT NULL,
    measures {{BYTES}} NOT NULL,
    -- Sealed: why a risk is unlikely.
    risk_reason {{BYTES}},
    delay_reason {{BYTES}},
    -- Sealed: why those whom it touches need not be told.
    persons_reason {{BYTES}},
    authority_at BIGINT NOT NULL DEFAULT 0,
    persons_at BIGINT NOT NULL DEFAULT 0,
    -- A bit for each reminder that was published.
    reminded BIGINT NOT NULL DEFAULT 0,
    closed_at BIGINT NOT NULL DEFAULT 0,
    -- Who, as a keyed hash.
    reported_by TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX breach_by_time ON breach (tenant, aware_at, id);
