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

-- What people have said about hearing from us: the columns of `contacts` are how it stands, these rows how it came to be.
ALTER TABLE contacts ADD COLUMN marketing_stopped_by TEXT;
ALTER TABLE contacts ADD COLUMN blocked_at INTEGER;
ALTER TABLE contacts ADD COLUMN blocked_reason TEXT;
CREATE INDEX contacts_merged ON contacts (merged_into) WHERE merged_into IS NOT NULL;
CREATE INDEX contacts_blocked ON contacts (id) WHERE blocked_at IS NOT NULL;
CREATE TABLE contact_consents (
    contact_id BLOB NOT NULL,
    id         BLOB NOT NULL,
    category   TEXT NOT NULL,
    stopped    INTEGER NOT NULL,
    source     TEXT NOT NULL,
    evidence   TEXT NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (contact_id, id)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER contact_consents_is_not_updated BEFORE UPDATE ON contact_consents
BEGIN
    SELECT RAISE(ABORT, 'contact_consents only grows: its rows are neither changed nor deleted');
END;
CREATE TRIGGER contact_consents_is_not_deleted BEFORE DELETE ON contact_consents
BEGIN
    SELECT RAISE(ABORT, 'contact_consents only grows: its rows are neither changed nor deleted');
END;
CREATE TRIGGER contact_consents_is_not_replaced BEFORE INSERT ON contact_consents
WHEN EXISTS (SELECT 1 FROM contact_consents WHERE contact_id = NEW.contact_id AND id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'contact_consents only grows: its rows are neither changed nor deleted');
END;

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
