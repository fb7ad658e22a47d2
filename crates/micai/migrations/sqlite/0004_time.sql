-- Schedules: what is said to a person at a time, once or again and again. `next_due_at` is when by the calendar, `next_run_at` when
-- it is looked at (spread by chance, and not at all while it is paused): the loop finds its work through that index alone.
CREATE TABLE schedules (
    id              BLOB PRIMARY KEY NOT NULL,
    name            TEXT,
    contact_id      BLOB NOT NULL,
    phone_number_id TEXT NOT NULL,
    agent_id        TEXT NOT NULL,
    maker           TEXT NOT NULL,
    rule_id         TEXT,
    recurrence      TEXT NOT NULL,
    zone            TEXT NOT NULL,
    starts_at       INTEGER NOT NULL,
    ends_at         INTEGER,
    count_max       INTEGER,
    jitter_seconds  INTEGER NOT NULL,
    missed          TEXT NOT NULL,
    action          TEXT NOT NULL,
    state           TEXT NOT NULL,
    next_due_at     INTEGER,
    next_run_at     INTEGER,
    last_due_at     INTEGER,
    last_outcome    TEXT,
    fired           INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX schedules_run ON schedules (next_run_at, id) WHERE next_run_at IS NOT NULL;
CREATE UNIQUE INDEX schedules_name ON schedules (name) WHERE name IS NOT NULL;
CREATE INDEX schedules_contact ON schedules (contact_id, id);
CREATE INDEX schedules_waiting ON schedules (contact_id, next_due_at) WHERE next_due_at IS NOT NULL;
CREATE INDEX schedules_happened ON schedules (contact_id, last_due_at) WHERE last_due_at IS NOT NULL;
CREATE INDEX schedules_agent ON schedules (agent_id, id);
CREATE INDEX schedules_rule ON schedules (rule_id) WHERE rule_id IS NOT NULL;
CREATE INDEX schedules_state ON schedules (state, id) WHERE state <> 'active';
CREATE INDEX schedules_over ON schedules (updated_at) WHERE state IN ('finished', 'cancelled');

-- Tools and what is known about people.

-- The tools that an agent may use, a list of names. Nothing: the agent is older than such lists, and may use what it could then.
ALTER TABLE agents ADD COLUMN tools TEXT;

-- Calls of tools that the agent does not list. They did not run; the audit log has one entry for each turn.
CREATE TABLE tool_denials (
    agent_id TEXT NOT NULL,
    tool     TEXT NOT NULL,
    times    INTEGER NOT NULL,
    last_at  INTEGER NOT NULL,
    PRIMARY KEY (agent_id, tool)
) STRICT, WITHOUT ROWID;

-- What was asked last in a conversation, while an answer is waited for.
ALTER TABLE conversations ADD COLUMN question TEXT;

-- The time zone that a person lives in (IANA), where it is known.
ALTER TABLE contacts ADD COLUMN zone TEXT;

-- Reminders.

-- By which number a person speaks of a reminder of theirs: it keeps it as long as it lives.
ALTER TABLE schedules ADD COLUMN number INTEGER;

-- Control words. Who speaks in a conversation: since when, until when, whose word it was, and why.
ALTER TABLE conversations ADD COLUMN mode_until INTEGER;
ALTER TABLE conversations ADD COLUMN mode_since INTEGER;
ALTER TABLE conversations ADD COLUMN mode_set_by TEXT;
ALTER TABLE conversations ADD COLUMN mode_reason TEXT;
CREATE INDEX conversations_mode ON conversations (mode, id) WHERE mode <> 'bot';

-- Whether people can choose an agent, and its own words for help and for handing over.
ALTER TABLE agents ADD COLUMN listed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE agents ADD COLUMN help_reply TEXT;
ALTER TABLE agents ADD COLUMN handover_reply TEXT;
CREATE INDEX agents_listed ON agents (id) WHERE listed;

-- What the operator's own system is told of: kept until it has arrived, or is given up. Holds no words and no names.
CREATE TABLE notices (
    id              BLOB PRIMARY KEY NOT NULL,
    kind            TEXT NOT NULL,
    conversation_id BLOB NOT NULL,
    agent_id        TEXT NOT NULL,
    raised_at       INTEGER NOT NULL,
    attempts        INTEGER NOT NULL,
    not_before      INTEGER NOT NULL,
    settled_at      INTEGER,
    error           TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX notices_due ON notices (not_before, id) WHERE settled_at IS NULL;

-- People who are forgotten: what was asked for, how far it is (the stage and the last row of it), and what was erased. The row is the
-- receipt.
CREATE TABLE erasures (
    id                  BLOB PRIMARY KEY NOT NULL,
    contact_id          BLOB NOT NULL,
    asked_by            TEXT NOT NULL,
    asked_at            INTEGER NOT NULL,
    inbound_through     BLOB NOT NULL,
    stage               TEXT NOT NULL,
    cursor_conversation BLOB NOT NULL,
    cursor_id           BLOB NOT NULL,
    counts              TEXT NOT NULL,
    receipt             TEXT,
    done_at             INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX erasures_open ON erasures (id) WHERE done_at IS NULL;

-- The log still only grows, but what it repeats of messages to somebody who is forgotten can go.
DROP TRIGGER audit_log_is_not_updated;
CREATE TRIGGER audit_log_is_not_updated BEFORE UPDATE ON audit_log
WHEN NOT (OLD.action IN ('message_sent', 'letter_replayed', 'letter_discarded')
    AND NEW.id IS OLD.id AND NEW.at IS OLD.at AND NEW.actor IS OLD.actor AND NEW.actor_name IS OLD.actor_name
    AND NEW.request_id IS OLD.request_id AND NEW.action IS OLD.action AND NEW.subject IS OLD.subject
    AND (NEW.state_before IS OLD.state_before OR NEW.state_before = '{"erased":true}')
    AND (NEW.state_after IS OLD.state_after OR NEW.state_after = '{"erased":true}'))
BEGIN
    SELECT RAISE(ABORT, 'audit_log only grows: its rows are neither changed nor deleted');
END;

-- Delivery. What lifts a pause depends on who set it.
ALTER TABLE pauses ADD COLUMN cause TEXT NOT NULL DEFAULT 'refusal';
UPDATE pauses SET cause = 'person' WHERE code IS NULL;
-- The last news of the account or a number: what comes again, or late, moves nothing.
CREATE TABLE account_news (
    scope       TEXT NOT NULL,
    subject     TEXT NOT NULL,
    event       TEXT NOT NULL,
    occurred_at INTEGER NOT NULL,
    PRIMARY KEY (scope, subject)
) STRICT, WITHOUT ROWID;
-- Our numbers as people dial them, by which such news name them.
CREATE TABLE numbers (
    display_phone_number TEXT PRIMARY KEY NOT NULL,
    phone_number_id      TEXT NOT NULL
) STRICT, WITHOUT ROWID;
-- How often a version that could not read the row has come across it.
ALTER TABLE outbound_messages ADD COLUMN unreadable INTEGER NOT NULL DEFAULT 0;
-- When the person last came through an advertisement that nobody has answered yet, and until when everything is free because
-- somebody did.
ALTER TABLE conversations ADD COLUMN referred_at INTEGER;
ALTER TABLE conversations ADD COLUMN free_entry_until INTEGER;
