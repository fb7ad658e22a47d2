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
