-- What somebody must look at: one open row for each kind and subject, which counts.
CREATE TABLE alerts (
    id              uuid PRIMARY KEY NOT NULL,
    kind            text NOT NULL,
    subject         text NOT NULL,
    severity        text NOT NULL,
    sentence        text NOT NULL,
    evidence        jsonb NOT NULL,
    times           bigint NOT NULL,
    raised_at       timestamptz NOT NULL,
    last_raised_at  timestamptz NOT NULL,
    acknowledged_at timestamptz,
    acknowledged_by text,
    cleared_at      timestamptz
);
CREATE UNIQUE INDEX alerts_open ON alerts (kind, subject) WHERE cleared_at IS NULL;
CREATE INDEX alerts_open_id ON alerts (id) WHERE cleared_at IS NULL;

-- The templates of an account as WhatsApp last described them, a row for each language. `version` is the account's at the
-- row's last change: a sync leaves alone what changed while it asked. What WhatsApp no longer lists is kept for a while.
CREATE TABLE templates (
    waba_id              text NOT NULL,
    name                 text NOT NULL,
    language             text NOT NULL,
    provider_template_id text,
    status               text NOT NULL,
    status_reason        text,
    status_at            timestamptz,
    category             text NOT NULL,
    announced_category   text,
    quality              text NOT NULL,
    parameter_format     text NOT NULL,
    components           jsonb NOT NULL,
    version              bigint NOT NULL,
    gone_at              timestamptz,
    created_at           timestamptz NOT NULL,
    updated_at           timestamptz NOT NULL,
    PRIMARY KEY (waba_id, name, language)
);

-- How far each account's templates are known: `version` counts their changes, a sync is due while `wanted` is above `done`.
CREATE TABLE template_syncs (
    waba_id       text PRIMARY KEY NOT NULL,
    version       bigint NOT NULL,
    wanted        bigint NOT NULL,
    done          bigint NOT NULL,
    claimed_until timestamptz,
    not_before    timestamptz,
    synced_at     timestamptz,
    failed_at     timestamptz,
    error         text
);

-- Who changed what. Only grows: the triggers refuse everything else, from whoever it comes.
CREATE TABLE audit_log (
    id           uuid PRIMARY KEY NOT NULL,
    at           timestamptz NOT NULL,
    actor        text NOT NULL,
    actor_name   text,
    request_id   uuid,
    action       text NOT NULL,
    subject      text NOT NULL,
    state_before jsonb,
    state_after  jsonb
);
CREATE INDEX audit_log_subject ON audit_log (subject, id);
CREATE INDEX audit_log_action ON audit_log (action, id);
CREATE FUNCTION refuse_to_change_the_past() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% only grows: its rows are neither changed nor deleted', TG_TABLE_NAME;
END
$$;
CREATE TRIGGER audit_log_only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_the_past();

-- Dead letters. A replay is the same row with a new life: attempts are counted on (their numbers tell late answers of the old
-- life from new ones), and `attempts_before` says how many of them the new life does not answer for. What the row said before
-- stands in the audit log.
ALTER TABLE outbound_messages ADD COLUMN replays integer NOT NULL DEFAULT 0;
ALTER TABLE outbound_messages ADD COLUMN replayed_at timestamptz;
ALTER TABLE outbound_messages ADD COLUMN attempts_before integer NOT NULL DEFAULT 0;
ALTER TABLE inbound_messages ADD COLUMN replays integer NOT NULL DEFAULT 0;

-- Letters stand in groups by what killed them: WhatsApp's code, else our own word. Only what has failed is in these.
CREATE INDEX outbound_messages_letters
    ON outbound_messages (coalesce(CAST(error ->> 'code' AS text), error ->> 'reason', 'unnamed'), id) WHERE state = 'failed';
CREATE INDEX inbound_messages_letters
    ON inbound_messages (coalesce(error ->> 'reason', 'turn_failed'), id) WHERE state = 'dead';
CREATE INDEX inbound_messages_dead ON inbound_messages (id) WHERE state = 'dead';
