-- SyncEngage: campaigns, and one row for each person that a campaign or a trigger reaches.

CREATE TABLE engage_campaign (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    account TEXT NOT NULL,
    -- JSON of the audience.
    audience TEXT NOT NULL,
    subject TEXT NOT NULL,
    body TEXT NOT NULL,
    cost_micros BIGINT NOT NULL CHECK (cost_micros > 0),
    budget_micros BIGINT NOT NULL CHECK (budget_micros > 0),
    currency TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    status TEXT NOT NULL,
    runs BIGINT NOT NULL DEFAULT 0,
    -- The last run. Who holds it may write until its lease ends or another run takes its place.
    run TEXT NOT NULL DEFAULT '',
    run_until BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX engage_campaign_by_time ON engage_campaign (tenant, created_at, id);

-- No key to engage_campaign: a trigger with a template of its own has messages and no campaign.
CREATE TABLE engage_message (
    tenant TEXT NOT NULL,
    campaign TEXT NOT NULL,
    -- The person's handle; `~` and the message's id once nobody may know any more whom it was for.
    subject TEXT NOT NULL,
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    authorization_id TEXT,
    -- Names separated by commas.
    reasons TEXT NOT NULL,
    -- Value and probability as the template shows them, so that a retry says the same: JSON, sealed under the person's key.
    sealed {{BYTES}} NOT NULL,
    -- The run that last took the row in hand.
    run TEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, campaign, subject)
);
CREATE INDEX engage_message_of ON engage_message (tenant, subject);
CREATE INDEX engage_message_by_time ON engage_message (tenant, updated_at);
CREATE INDEX engage_message_unfinished ON engage_message (tenant, campaign, state);
