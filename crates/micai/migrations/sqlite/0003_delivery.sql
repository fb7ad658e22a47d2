-- Changes whenever an identifier moves to somebody else or two people turn out to be one. Whoever remembers who is who
-- writes only while this is what it was. (Postgres also turns an index round here; in SQLite it stands well as it is.)
CREATE TABLE people_versions (
    name    TEXT PRIMARY KEY NOT NULL,
    version BLOB NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO people_versions (name, version) VALUES ('who_is_who', zeroblob(16));

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

-- What a send may cost, which agent said it, and the status that settled its cost: the first one that told of a delivery
-- and named a price.
ALTER TABLE outbound_messages ADD COLUMN agent_id TEXT;
ALTER TABLE outbound_messages ADD COLUMN estimate_micros INTEGER;
ALTER TABLE outbound_messages ADD COLUMN charged_by BLOB;

-- What delivered messages cost, by day (UTC). Each key has several rows, which are added up: whoever settles takes one of
-- them by chance, so that two of them seldom wait for each other.
CREATE TABLE spend (
    day              INTEGER NOT NULL,
    phone_number_id  TEXT NOT NULL,
    agent_id         TEXT NOT NULL,
    category         TEXT NOT NULL,
    country          TEXT NOT NULL,
    currency         TEXT NOT NULL,
    shard            INTEGER NOT NULL,
    messages         INTEGER NOT NULL,
    free_messages    INTEGER NOT NULL,
    estimated_micros INTEGER NOT NULL,
    settled_micros   INTEGER NOT NULL,
    PRIMARY KEY (day, phone_number_id, agent_id, category, country, currency, shard)
) STRICT, WITHOUT ROWID;

CREATE TABLE budgets (
    id           TEXT PRIMARY KEY NOT NULL,
    scope        TEXT NOT NULL,
    subject      TEXT,
    period       TEXT NOT NULL,
    zone         TEXT,
    currency     TEXT NOT NULL,
    limit_micros INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What is spent of a budget, and put aside for what is on its way. The row without a budget's id counts a number's free
-- messages of a month, in messages.
CREATE TABLE budget_periods (
    budget_id   TEXT NOT NULL,
    subject     TEXT NOT NULL,
    starts_at   INTEGER NOT NULL,
    ends_at     INTEGER NOT NULL,
    reserved    INTEGER NOT NULL,
    spent       INTEGER NOT NULL,
    warned_at   INTEGER,
    exceeded_at INTEGER,
    PRIMARY KEY (budget_id, subject, starts_at)
) STRICT, WITHOUT ROWID;
CREATE INDEX budget_periods_end ON budget_periods (ends_at);

-- What is put aside: a row for each budget that a send counts against, until its fate is known.
CREATE TABLE spend_reservations (
    conversation_id BLOB NOT NULL,
    outbound_id     BLOB NOT NULL,
    budget_id       TEXT NOT NULL,
    subject         TEXT NOT NULL,
    starts_at       INTEGER NOT NULL,
    amount          INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, outbound_id, budget_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX spend_reservations_budget ON spend_reservations (budget_id);

-- Sends that wait for a budget.
CREATE TABLE budget_holds (
    budget_id       TEXT NOT NULL,
    subject         TEXT NOT NULL,
    outbound_id     BLOB NOT NULL,
    conversation_id BLOB NOT NULL,
    micros          INTEGER NOT NULL,
    currency        TEXT NOT NULL,
    PRIMARY KEY (budget_id, subject, outbound_id)
) STRICT, WITHOUT ROWID;

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

-- What is not sent for the time being, and the sends that are held for it.
CREATE TABLE pauses (
    scope    TEXT NOT NULL,
    subject  TEXT NOT NULL,
    code     INTEGER,
    sentence TEXT NOT NULL,
    since    INTEGER NOT NULL,
    until    INTEGER,
    PRIMARY KEY (scope, subject)
) STRICT, WITHOUT ROWID;
CREATE TABLE pause_holds (
    scope           TEXT NOT NULL,
    subject         TEXT NOT NULL,
    outbound_id     BLOB NOT NULL,
    conversation_id BLOB NOT NULL,
    PRIMARY KEY (scope, subject, outbound_id)
) STRICT, WITHOUT ROWID;

-- Since when it is tried (attempts end after some hours), and whether WhatsApp said that it needs a template, whatever we
-- think of its window.
ALTER TABLE outbound_messages ADD COLUMN tried_since INTEGER;
ALTER TABLE outbound_messages ADD COLUMN needs_template INTEGER NOT NULL DEFAULT 0;
-- The template that says the same outside the window.
ALTER TABLE outbound_messages ADD COLUMN template TEXT;

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

-- What an agent says outside the window, and how it deals with sends whose fate is not known; nothing: as the installation does.
ALTER TABLE agents ADD COLUMN fallback_template TEXT;
ALTER TABLE agents ADD COLUMN unknown_deadline_seconds INTEGER;
ALTER TABLE agents ADD COLUMN unknown_policy TEXT;
