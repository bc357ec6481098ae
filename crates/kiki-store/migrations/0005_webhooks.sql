-- Webhooks: who is told of events, what is on its way to them, how far the log was looked at.

CREATE TABLE webhook_endpoint (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    url TEXT NOT NULL,
    description TEXT NOT NULL,
    -- Names separated by commas; empty: all.
    events TEXT NOT NULL,
    -- Base64, as after the prefix whsec_.
    secret TEXT NOT NULL,
    -- The one before, which signs as well until its time is over; empty if there is none.
    old_secret TEXT NOT NULL DEFAULT '',
    old_secret_until BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    -- It is told of what happened from then on.
    active_since BIGINT NOT NULL,
    -- Why nothing is sent to it; empty if it is.
    disabled TEXT NOT NULL DEFAULT '',
    -- Attempts that failed since the last one that did not, and when the first of them was; 0 if there is none.
    failures BIGINT NOT NULL DEFAULT 0,
    failing_since BIGINT NOT NULL DEFAULT 0,
    -- Events that it was not told of, because too many were waiting.
    dropped BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, id)
);

CREATE TABLE webhook_delivery (
    tenant TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    id TEXT NOT NULL,
    event TEXT NOT NULL,
    body TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'failed')),
    attempts BIGINT NOT NULL,
    -- When it is tried next; while it is being tried, when it is given up that this will end.
    due_at BIGINT NOT NULL,
    -- What the last attempt was answered; 0 and a text if there was no answer.
    last_status BIGINT NOT NULL DEFAULT 0,
    last_error TEXT NOT NULL DEFAULT '',
    -- When it was delivered or given up; 0 before.
    ended_at BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, endpoint, id),
    FOREIGN KEY (tenant, endpoint) REFERENCES webhook_endpoint (tenant, id)
);
CREATE INDEX webhook_delivery_due ON webhook_delivery (due_at) WHERE state = 'pending';
CREATE INDEX webhook_delivery_waiting ON webhook_delivery (tenant, endpoint) WHERE state = 'pending';
CREATE INDEX webhook_delivery_by_time ON webhook_delivery (tenant, endpoint, created_at, id);
CREATE INDEX webhook_delivery_ended ON webhook_delivery (state, ended_at) WHERE state <> 'pending';

-- Of a log, not of a tenant: every entry before the position was turned into deliveries.
CREATE TABLE webhook_follower (
    log TEXT PRIMARY KEY,
    position BIGINT NOT NULL
);
