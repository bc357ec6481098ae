-- Data subject requests: who wants what done with their data, by when it must be, and how far it is.

CREATE TABLE subject_request (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    subject TEXT NOT NULL,
    kind TEXT NOT NULL,
    regime TEXT NOT NULL CHECK (regime IN ('gdpr', 'ccpa')),
    state TEXT NOT NULL
        CHECK (state IN ('received', 'identity_check', 'in_progress', 'extended', 'completed', 'refused')),
    outcome TEXT NOT NULL DEFAULT '',
    ground TEXT NOT NULL DEFAULT '',
    received_at BIGINT NOT NULL,
    -- The date of receipt in the zone that counts, as 2024-01-31.
    received_on TEXT NOT NULL,
    -- Last milliseconds of last days; 0 where the law knows no such date.
    acknowledge_by BIGINT NOT NULL DEFAULT 0,
    due_at BIGINT NOT NULL,
    extended_due_at BIGINT NOT NULL DEFAULT 0,
    acknowledged_at BIGINT NOT NULL DEFAULT 0,
    verified_at BIGINT NOT NULL DEFAULT 0,
    -- Who vouched, as a keyed hash; code where the person proved it by one.
    verified_by TEXT NOT NULL DEFAULT '',
    extended_at BIGINT NOT NULL DEFAULT 0,
    ended_at BIGINT NOT NULL DEFAULT 0,
    -- When a restriction was ended.
    lifted_at BIGINT NOT NULL DEFAULT 0,
    -- When the copy that was asked for was fetched first.
    fetched_at BIGINT NOT NULL DEFAULT 0,
    -- When an officer said that a deletion waits for no copy.
    waived_at BIGINT NOT NULL DEFAULT 0,
    -- Sealed: what was asked for in words.
    details {{BYTES}} NOT NULL,
    -- Sealed: the code that was mailed, until when it counts, how often it was tried, how many there were.
    code {{BYTES}},
    code_until BIGINT NOT NULL DEFAULT 0,
    code_tries BIGINT NOT NULL DEFAULT 0,
    codes BIGINT NOT NULL DEFAULT 0,
    -- A bit for each reminder that was published.
    reminded BIGINT NOT NULL DEFAULT 0,
    step BIGINT NOT NULL DEFAULT 0,
    next_at BIGINT NOT NULL,
    worker TEXT NOT NULL DEFAULT '',
    lease_until BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX subject_request_due ON subject_request (next_at) WHERE state IN ('in_progress', 'extended');
-- What is carried out together.
CREATE INDEX subject_request_wave ON subject_request (tenant, kind, step, next_at)
    WHERE state IN ('in_progress', 'extended');
CREATE INDEX subject_request_open ON subject_request (due_at) WHERE ended_at = 0;
CREATE INDEX subject_request_by_arrival ON subject_request (tenant, received_at, id);
CREATE INDEX subject_request_by_state ON subject_request (tenant, state, received_at, id);
CREATE INDEX subject_request_of ON subject_request (tenant, subject);

-- One for each store that a request runs over.
CREATE TABLE subject_task (
    tenant TEXT NOT NULL,
    request TEXT NOT NULL,
    store TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'done', 'failed')),
    rows BIGINT NOT NULL DEFAULT 0,
    attempts BIGINT NOT NULL DEFAULT 0,
    -- A code; never what the store said.
    error TEXT NOT NULL DEFAULT '',
    at BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, request, store)
);

-- What an export holds, sealed, in parts.
CREATE TABLE subject_export (
    tenant TEXT NOT NULL,
    request TEXT NOT NULL,
    part BIGINT NOT NULL,
    body {{BYTES}} NOT NULL,
    sha256 TEXT NOT NULL,
    until BIGINT NOT NULL,
    PRIMARY KEY (tenant, request, part)
);
