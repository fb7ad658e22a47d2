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

-- Control words. Who speaks in a conversation: since when, until when, whose word it was, and why.
ALTER TABLE conversations ADD COLUMN mode_until timestamptz;
ALTER TABLE conversations ADD COLUMN mode_since timestamptz;
ALTER TABLE conversations ADD COLUMN mode_set_by text;
ALTER TABLE conversations ADD COLUMN mode_reason text;
CREATE INDEX conversations_mode ON conversations (mode, id) WHERE mode <> 'bot';

-- Whether people can choose an agent, and its own words for help and for handing over.
ALTER TABLE agents ADD COLUMN listed boolean NOT NULL DEFAULT false;
ALTER TABLE agents ADD COLUMN help_reply text;
ALTER TABLE agents ADD COLUMN handover_reply text;
CREATE INDEX agents_listed ON agents (id) WHERE listed;

-- What the operator's own system is told of: kept until it has arrived, or is given up. Holds no words and no names.
CREATE TABLE notices (
    id              uuid PRIMARY KEY NOT NULL,
    kind            text NOT NULL,
    conversation_id uuid NOT NULL,
    agent_id        text NOT NULL,
    raised_at       timestamptz NOT NULL,
    attempts        integer NOT NULL,
    not_before      timestamptz NOT NULL,
    settled_at      timestamptz,
    error           jsonb
);
CREATE INDEX notices_due ON notices (not_before, id) WHERE settled_at IS NULL;

-- People who are forgotten: what was asked for, how far it is (the stage and the last row of it), and what was erased. The row is the
-- receipt.
CREATE TABLE erasures (
    id                  uuid PRIMARY KEY NOT NULL,
    contact_id          uuid NOT NULL,
    asked_by            text NOT NULL,
    asked_at            timestamptz NOT NULL,
    inbound_through     uuid NOT NULL,
    stage               text NOT NULL,
    cursor_conversation uuid NOT NULL,
    cursor_id           uuid NOT NULL,
    counts              jsonb NOT NULL,
    receipt             jsonb,
    done_at             timestamptz
);
CREATE INDEX erasures_open ON erasures (id) WHERE done_at IS NULL;

-- The log still only grows, but what it repeats of messages to somebody who is forgotten can go.
DROP TRIGGER audit_log_only_grows ON audit_log;
CREATE TRIGGER audit_log_only_grows BEFORE DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_the_past();
CREATE FUNCTION refuse_to_change_more_than_words() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.action IN ('message_sent', 'letter_replayed', 'letter_discarded')
        AND (to_jsonb(NEW) - 'state_before' - 'state_after') = (to_jsonb(OLD) - 'state_before' - 'state_after')
        AND (NEW.state_before IS NOT DISTINCT FROM OLD.state_before OR NEW.state_before = '{"erased": true}')
        AND (NEW.state_after IS NOT DISTINCT FROM OLD.state_after OR NEW.state_after = '{"erased": true}')
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION '% only grows: its rows are neither changed nor deleted', TG_TABLE_NAME;
END
$$;
CREATE TRIGGER audit_log_loses_only_words BEFORE UPDATE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION refuse_to_change_more_than_words();

-- Delivery. What lifts a pause depends on who set it.
ALTER TABLE pauses ADD COLUMN cause text NOT NULL DEFAULT 'refusal';
UPDATE pauses SET cause = 'person' WHERE code IS NULL;
-- The last news of the account or a number: what comes again, or late, moves nothing.
CREATE TABLE account_news (
    scope       text NOT NULL,
    subject     text NOT NULL,
    event       text NOT NULL,
    occurred_at timestamptz NOT NULL,
    PRIMARY KEY (scope, subject)
);
-- Our numbers as people dial them, by which such news name them.
CREATE TABLE numbers (
    display_phone_number text PRIMARY KEY NOT NULL,
    phone_number_id      text NOT NULL
);
-- How often a version that could not read the row has come across it.
ALTER TABLE outbound_messages ADD COLUMN unreadable integer NOT NULL DEFAULT 0;
-- When the person last came through an advertisement that nobody has answered yet, and until when everything is free because
-- somebody did.
ALTER TABLE conversations ADD COLUMN referred_at timestamptz;
ALTER TABLE conversations ADD COLUMN free_entry_until timestamptz;
