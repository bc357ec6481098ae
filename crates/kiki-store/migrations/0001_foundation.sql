-- What every service needs: a name for this database, the outbox, the memory of idempotency keys.

-- One row. The name under which a receiver of this database's outbox counts positions.
CREATE TABLE store_source (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    id TEXT NOT NULL
);

-- One row. Its lock makes positions visible in ascending order: see outbox.rs.
CREATE TABLE outbox_counter (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    position BIGINT NOT NULL
);
INSERT INTO outbox_counter (one, position) VALUES (1, 0);

CREATE TABLE outbox (
    position BIGINT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    tenant TEXT NOT NULL,
    topic TEXT NOT NULL,
    at BIGINT NOT NULL,
    payload TEXT NOT NULL,
    delivered BIGINT NOT NULL DEFAULT 0 CHECK (delivered IN (0, 1))
);
CREATE INDEX outbox_pending ON outbox (topic, position) WHERE delivered = 0;
CREATE INDEX outbox_delivered ON outbox (at) WHERE delivered = 1;

-- A key without a status is in progress until its lease ends.
CREATE TABLE idempotency (
    tenant TEXT NOT NULL,
    scope TEXT NOT NULL,
    key_hash TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    status BIGINT,
    body {{BYTES}},
    created_at BIGINT NOT NULL,
    lease_until BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, scope, key_hash)
);
CREATE INDEX idempotency_expiry ON idempotency (expires_at);
