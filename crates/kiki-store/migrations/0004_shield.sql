-- Data subject requests: who wants what done with their data, and by when it must be.
CREATE TABLE subject_requests (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    customer_id TEXT NOT NULL,
    request_type TEXT NOT NULL,
    state TEXT NOT NULL,
    received_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);

CREATE INDEX subject_requests_by_arrival ON subject_requests (tenant, received_at);
