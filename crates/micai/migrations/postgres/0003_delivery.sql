-- A condition that the index's own predicate implies is left out of what Postgres looks for in it. With the state in
-- front it walked through all that waits, and all that had waited since the last vacuum, for each conversation. (In SQLite
-- the state stands in front for a good reason, and stays there.)
DROP INDEX inbound_messages_pending;
CREATE INDEX inbound_messages_pending ON inbound_messages (conversation_id, id) WHERE state = 'pending';

-- Changes whenever an identifier moves to somebody else or two people turn out to be one. Whoever remembers who is who
-- writes only while this is what it was.
CREATE TABLE people_versions (
    name    text PRIMARY KEY NOT NULL,
    version uuid NOT NULL
);
INSERT INTO people_versions (name, version) VALUES ('who_is_who', '00000000-0000-0000-0000-000000000000');

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

-- What a send may cost, which agent said it, and the status that settled its cost: the first one that told of a delivery
-- and named a price.
ALTER TABLE outbound_messages ADD COLUMN agent_id text;
ALTER TABLE outbound_messages ADD COLUMN estimate_micros bigint;
ALTER TABLE outbound_messages ADD COLUMN charged_by uuid;

-- What delivered messages cost, by day (UTC). Each key has several rows, which are added up: whoever settles takes one of
-- them by chance, so that two of them seldom wait for each other.
CREATE TABLE spend (
    day              timestamptz NOT NULL,
    phone_number_id  text NOT NULL,
    agent_id         text NOT NULL,
    category         text NOT NULL,
    country          text NOT NULL,
    currency         text NOT NULL,
    shard            bigint NOT NULL,
    messages         bigint NOT NULL,
    free_messages    bigint NOT NULL,
    estimated_micros bigint NOT NULL,
    settled_micros   bigint NOT NULL,
    PRIMARY KEY (day, phone_number_id, agent_id, category, country, currency, shard)
);

CREATE TABLE budgets (
    id           text PRIMARY KEY NOT NULL,
    scope        text NOT NULL,
    subject      text,
    period       text NOT NULL,
    zone         text,
    currency     text NOT NULL,
    limit_micros bigint NOT NULL,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL
);

-- What is spent of a budget, and put aside for what is on its way. The row without a budget's id counts a number's free
-- messages of a month, in messages.
CREATE TABLE budget_periods (
    budget_id   text NOT NULL,
    subject     text NOT NULL,
    starts_at   timestamptz NOT NULL,
    ends_at     timestamptz NOT NULL,
    reserved    bigint NOT NULL,
    spent       bigint NOT NULL,
    warned_at   timestamptz,
    exceeded_at timestamptz,
    PRIMARY KEY (budget_id, subject, starts_at)
);
CREATE INDEX budget_periods_end ON budget_periods (ends_at);

-- What is put aside: a row for each budget that a send counts against, until its fate is known.
CREATE TABLE spend_reservations (
    conversation_id uuid NOT NULL,
    outbound_id     uuid NOT NULL,
    budget_id       text NOT NULL,
    subject         text NOT NULL,
    starts_at       timestamptz NOT NULL,
    amount          bigint NOT NULL,
    PRIMARY KEY (conversation_id, outbound_id, budget_id)
);
CREATE INDEX spend_reservations_budget ON spend_reservations (budget_id);

-- Sends that wait for a budget.
CREATE TABLE budget_holds (
    budget_id       text NOT NULL,
    subject         text NOT NULL,
    outbound_id     uuid NOT NULL,
    conversation_id uuid NOT NULL,
    micros          bigint NOT NULL,
    currency        text NOT NULL,
    PRIMARY KEY (budget_id, subject, outbound_id)
);

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

-- What is not sent for the time being, and the sends that are held for it.
CREATE TABLE pauses (
    scope    text NOT NULL,
    subject  text NOT NULL,
    code     bigint,
    sentence text NOT NULL,
    since    timestamptz NOT NULL,
    until    timestamptz,
    PRIMARY KEY (scope, subject)
);
CREATE TABLE pause_holds (
    scope           text NOT NULL,
    subject         text NOT NULL,
    outbound_id     uuid NOT NULL,
    conversation_id uuid NOT NULL,
    PRIMARY KEY (scope, subject, outbound_id)
);

-- Since when it is tried (attempts end after some hours), and whether WhatsApp said that it needs a template, whatever we
-- think of its window.
ALTER TABLE outbound_messages ADD COLUMN tried_since timestamptz;
ALTER TABLE outbound_messages ADD COLUMN needs_template boolean NOT NULL DEFAULT false;
-- The template that says the same outside the window.
ALTER TABLE outbound_messages ADD COLUMN template jsonb;

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

-- What people have said about hearing from us: the columns of `contacts` are how it stands, these rows how it came to be.
ALTER TABLE contacts ADD COLUMN marketing_stopped_by text;
ALTER TABLE contacts ADD COLUMN blocked_at timestamptz;
ALTER TABLE contacts ADD COLUMN blocked_reason text;
CREATE INDEX contacts_merged ON contacts (merged_into) WHERE merged_into IS NOT NULL;
CREATE INDEX contacts_blocked ON contacts (id) WHERE blocked_at IS NOT NULL;
CREATE TABLE contact_consents (
    contact_id uuid NOT NULL,
    id         uuid NOT NULL,
    category   text NOT NULL,
    stopped    boolean NOT NULL,
    source     text NOT NULL,
    evidence   jsonb NOT NULL,
    at         timestamptz NOT NULL,
    PRIMARY KEY (contact_id, id)
);
CREATE TRIGGER contact_consents_only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON contact_consents
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_the_past();

-- What an agent says outside the window, and how it deals with sends whose fate is not known; nothing: as the installation does.
ALTER TABLE agents ADD COLUMN fallback_template jsonb;
ALTER TABLE agents ADD COLUMN unknown_deadline_seconds bigint;
ALTER TABLE agents ADD COLUMN unknown_policy text;
