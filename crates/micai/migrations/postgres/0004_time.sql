-- Schedules: what is said to a person at a time, once or again and again. `next_due_at` is when by the calendar, `next_run_at` when
-- it is looked at (spread by chance, and not at all while it is paused): the loop finds its work through that index alone.
CREATE TABLE schedules (
    id              uuid PRIMARY KEY NOT NULL,
    name            text,
    contact_id      uuid NOT NULL,
    phone_number_id text NOT NULL,
    agent_id        text NOT NULL,
    maker           text NOT NULL,
    rule_id         text,
    recurrence      jsonb NOT NULL,
    zone            text NOT NULL,
    starts_at       timestamptz NOT NULL,
    ends_at         timestamptz,
    count_max       bigint,
    jitter_seconds  bigint NOT NULL,
    missed          jsonb NOT NULL,
    action          jsonb NOT NULL,
    state           text NOT NULL,
    next_due_at     timestamptz,
    next_run_at     timestamptz,
    last_due_at     timestamptz,
    last_outcome    jsonb,
    fired           bigint NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL
);
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
ALTER TABLE agents ADD COLUMN tools jsonb;

-- Calls of tools that the agent does not list. They did not run; the audit log has one entry for each turn.
CREATE TABLE tool_denials (
    agent_id text NOT NULL,
    tool     text NOT NULL,
    times    bigint NOT NULL,
    last_at  timestamptz NOT NULL,
    PRIMARY KEY (agent_id, tool)
);

-- What was asked last in a conversation, while an answer is waited for.
ALTER TABLE conversations ADD COLUMN question jsonb;

-- The time zone that a person lives in (IANA), where it is known.
ALTER TABLE contacts ADD COLUMN zone text;

-- Reminders.

-- By which number a person speaks of a reminder of theirs: it keeps it as long as it lives.
ALTER TABLE schedules ADD COLUMN number BIGINT;
