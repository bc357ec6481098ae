-- What customers were asked and what they answered, beside the governor, which decides by it.

CREATE TABLE consent_record (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    subject TEXT NOT NULL,
    -- Or the bar that an act is about, without a channel then.
    purpose TEXT NOT NULL,
    channel TEXT NOT NULL,
    act TEXT NOT NULL CHECK (act IN ('grant', 'revoke', 'bar', 'unbar')),
    -- noted: the governor has not answered yet. awaiting: the customer has not confirmed yet.
    state TEXT NOT NULL CHECK (state IN ('noted', 'awaiting', 'standing', 'void')),
    -- The legal basis, as Art. 6(1) GDPR lists them.
    basis TEXT NOT NULL,
    text_version TEXT NOT NULL,
    -- Where it came from, such as api or gpc.
    source TEXT NOT NULL,
    -- Sealed.
    evidence {{BYTES}} NOT NULL,
    token {{BYTES}},
    at BIGINT NOT NULL,
    -- When it ends; 0 for never.
    until BIGINT NOT NULL DEFAULT 0,
    -- The log entry that proves it.
    entry BIGINT,
    confirm_by BIGINT NOT NULL DEFAULT 0,
    -- How many entries the log had when the customer was asked to confirm: what they take back since stays so.
    asked BIGINT,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX consent_record_of ON consent_record (tenant, subject, at, id);
CREATE INDEX consent_record_unsettled ON consent_record (state, at) WHERE state IN ('noted', 'awaiting');

-- What was shown to those who were asked.
CREATE TABLE consent_text (
    tenant TEXT NOT NULL,
    version TEXT NOT NULL,
    purpose TEXT NOT NULL,
    -- Of the text, in hexadecimal.
    sha256 TEXT NOT NULL,
    text TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, version)
);
