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
