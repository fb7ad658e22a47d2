-- What somebody must look at: one open row for each kind and subject, which counts.
CREATE TABLE alerts (
    id              BLOB PRIMARY KEY NOT NULL,
    kind            TEXT NOT NULL,
    subject         TEXT NOT NULL,
    severity        TEXT NOT NULL,
    sentence        TEXT NOT NULL,
    evidence        TEXT NOT NULL,
    times           INTEGER NOT NULL,
    raised_at       INTEGER NOT NULL,
    last_raised_at  INTEGER NOT NULL,
    acknowledged_at INTEGER,
    acknowledged_by TEXT,
    cleared_at      INTEGER
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX alerts_open ON alerts (kind, subject) WHERE cleared_at IS NULL;
CREATE INDEX alerts_open_id ON alerts (id) WHERE cleared_at IS NULL;

-- The templates of an account as WhatsApp last described them, a row for each language. `version` is the account's at the
-- row's last change: a sync leaves alone what changed while it asked. What WhatsApp no longer lists is kept for a while.
CREATE TABLE templates (
    waba_id              TEXT NOT NULL,
    name                 TEXT NOT NULL,
    language             TEXT NOT NULL,
    provider_template_id TEXT,
    status               TEXT NOT NULL,
    status_reason        TEXT,
    status_at            INTEGER,
    category             TEXT NOT NULL,
    announced_category   TEXT,
    quality              TEXT NOT NULL,
    parameter_format     TEXT NOT NULL,
    components           TEXT NOT NULL,
    version              INTEGER NOT NULL,
    gone_at              INTEGER,
    created_at           INTEGER NOT NULL,
    updated_at           INTEGER NOT NULL,
    PRIMARY KEY (waba_id, name, language)
) STRICT, WITHOUT ROWID;

-- How far each account's templates are known: `version` counts their changes, a sync is due while `wanted` is above `done`.
CREATE TABLE template_syncs (
    waba_id       TEXT PRIMARY KEY NOT NULL,
    version       INTEGER NOT NULL,
    wanted        INTEGER NOT NULL,
    done          INTEGER NOT NULL,
    claimed_until INTEGER,
    not_before    INTEGER,
    synced_at     INTEGER,
    failed_at     INTEGER,
    error         TEXT
) STRICT, WITHOUT ROWID;
