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
