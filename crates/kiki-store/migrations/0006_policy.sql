-- The texts of policies. Which version is in force is in the log; its texts are here before.
CREATE TABLE policy_version (
    tenant TEXT NOT NULL,
    -- 32 hexadecimal digits, made of the texts.
    version TEXT NOT NULL,
    -- JSON: a list of pairs, the name of a rule set and its text.
    texts TEXT NOT NULL,
    rules BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    -- Who put it in force first, as a keyed hash.
    created_by TEXT NOT NULL,
    PRIMARY KEY (tenant, version)
);
