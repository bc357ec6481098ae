-- Keys of people: a secret for each person, wrapped by a secret of an epoch that this database never holds.

-- What this database knows of the epochs; their secrets are in the ring.
CREATE TABLE key_epoch (
    n BIGINT PRIMARY KEY,
    -- The ring's id: a database belongs to one.
    ring TEXT NOT NULL,
    began BIGINT NOT NULL,
    -- People whose secrets were first wrapped in it. Its row's lock puts those who mint in a line.
    minted BIGINT NOT NULL DEFAULT 0,
    state TEXT NOT NULL CHECK (state IN ('current', 'previous', 'destroyed'))
);

CREATE TABLE subject (
    tenant TEXT NOT NULL,
    -- The handle: random, and all that other tables know of the person.
    id TEXT NOT NULL,
    -- A keyed hash of the customer id, under the key of the epoch.
    locator {{BYTES}} NOT NULL,
    epoch BIGINT NOT NULL,
    wrapped {{BYTES}} NOT NULL,
    -- The customer id, sealed.
    name {{BYTES}} NOT NULL,
    -- Legal holds that stand.
    holds BIGINT NOT NULL DEFAULT 0 CHECK (holds >= 0),
    restricted BIGINT NOT NULL DEFAULT 0 CHECK (restricted IN (0, 1)),
    -- Whether they object to being profiled.
    objected BIGINT NOT NULL DEFAULT 0 CHECK (objected IN (0, 1)),
    -- Days since 1970: coarse, so that they tell little.
    created_on BIGINT NOT NULL,
    used_on BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE UNIQUE INDEX subject_by_locator ON subject (tenant, epoch, locator);
CREATE INDEX subject_by_epoch ON subject (epoch, tenant, id);
CREATE INDEX subject_by_use ON subject (tenant, used_on);

CREATE TABLE legal_hold (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    subject TEXT NOT NULL,
    -- What it is about, sealed.
    matter {{BYTES}} NOT NULL,
    placed_at BIGINT NOT NULL,
    -- Who, as a keyed hash.
    placed_by TEXT NOT NULL,
    released_at BIGINT NOT NULL DEFAULT 0,
    released_by TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (tenant, id)
);
CREATE INDEX legal_hold_of ON legal_hold (tenant, subject);

-- The register of erasures as this database knows it; the file beside the ring has it too, and survives a restore.
CREATE TABLE erasure (
    tenant TEXT NOT NULL,
    subject TEXT NOT NULL,
    seq BIGINT NOT NULL UNIQUE,
    epoch BIGINT NOT NULL,
    at BIGINT NOT NULL,
    cause TEXT NOT NULL,
    -- The subject request that asked for it; empty if none did.
    request TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (tenant, subject)
);

-- Which process does a job that one at a time may do, and until when unless it says so again.
CREATE TABLE job_lease (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    until BIGINT NOT NULL
);

-- Of a log, not of a tenant: every entry before the position was looked at for erasures and consents.
CREATE TABLE personal_follower (
    log TEXT PRIMARY KEY,
    position BIGINT NOT NULL
);
