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

-- Who changed what. Only grows: the triggers refuse everything else, from whoever it comes.
CREATE TABLE audit_log (
    id           BLOB PRIMARY KEY NOT NULL,
    at           INTEGER NOT NULL,
    actor        TEXT NOT NULL,
    actor_name   TEXT,
    request_id   BLOB,
    action       TEXT NOT NULL,
    subject      TEXT NOT NULL,
    state_before TEXT,
    state_after  TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_log_subject ON audit_log (subject, id);
CREATE INDEX audit_log_action ON audit_log (action, id);
CREATE TRIGGER audit_log_is_not_updated BEFORE UPDATE ON audit_log
BEGIN
    SELECT RAISE(ABORT, 'audit_log only grows: its rows are neither changed nor deleted');
END;
CREATE TRIGGER audit_log_is_not_deleted BEFORE DELETE ON audit_log
BEGIN
    SELECT RAISE(ABORT, 'audit_log only grows: its rows are neither changed nor deleted');
END;
-- INSERT OR REPLACE would delete without asking the trigger above.
CREATE TRIGGER audit_log_is_not_replaced BEFORE INSERT ON audit_log
WHEN EXISTS (SELECT 1 FROM audit_log WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'audit_log only grows: its rows are neither changed nor deleted');
END;

-- Dead letters. A replay is the same row with a new life: attempts are counted on (their numbers tell late answers of the old
-- life from new ones), and `attempts_before` says how many of them the new life does not answer for. What the row said before
-- stands in the audit log.
ALTER TABLE outbound_messages ADD COLUMN replays INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbound_messages ADD COLUMN replayed_at INTEGER;
ALTER TABLE outbound_messages ADD COLUMN attempts_before INTEGER NOT NULL DEFAULT 0;
ALTER TABLE inbound_messages ADD COLUMN replays INTEGER NOT NULL DEFAULT 0;

-- Letters stand in groups by what killed them: WhatsApp's code, else our own word. Only what has failed is in these.
CREATE INDEX outbound_messages_letters
    ON outbound_messages (coalesce(CAST(error ->> 'code' AS text), error ->> 'reason', 'unnamed'), id) WHERE state = 'failed';
CREATE INDEX inbound_messages_letters
    ON inbound_messages (coalesce(error ->> 'reason', 'turn_failed'), id) WHERE state = 'dead';
CREATE INDEX inbound_messages_dead ON inbound_messages (id) WHERE state = 'dead';
