-- The same tables, columns and names as for SQLite, in native types.

CREATE TABLE contacts (
    id            uuid PRIMARY KEY NOT NULL,
    name          text,
    username      text,
    opted_out_at  timestamptz,
    marketing_stopped_at timestamptz,
    merged_into   uuid,
    created_at    timestamptz NOT NULL
);

-- Superseded, never deleted: an old identifier still leads to its contact unless somebody else holds it now.
CREATE TABLE contact_identities (
    id            uuid PRIMARY KEY NOT NULL,
    portfolio_id  text NOT NULL,
    kind          text NOT NULL,
    value         text NOT NULL,
    contact_id    uuid NOT NULL,
    created_at    timestamptz NOT NULL,
    superseded_at timestamptz
);
CREATE UNIQUE INDEX contact_identities_live ON contact_identities (portfolio_id, kind, value) WHERE superseded_at IS NULL;
CREATE INDEX contact_identities_value ON contact_identities (portfolio_id, kind, value);
CREATE INDEX contact_identities_contact ON contact_identities (contact_id);

CREATE TABLE agents (
    id                  text PRIMARY KEY NOT NULL,
    version             bigint NOT NULL,
    name                text NOT NULL,
    purpose             text NOT NULL,
    persona             text NOT NULL,
    fallback_reply      text,
    stale_after_seconds bigint NOT NULL,
    stale_policy        text NOT NULL,
    created_at          timestamptz NOT NULL,
    updated_at          timestamptz NOT NULL
);

CREATE TABLE rules (
    id         text PRIMARY KEY NOT NULL,
    agent_id   text NOT NULL REFERENCES agents (id),
    kind       text NOT NULL,
    enabled    boolean NOT NULL,
    priority   integer NOT NULL,
    keywords   jsonb NOT NULL,
    keyword_count integer NOT NULL,
    keyword_bytes bigint NOT NULL,
    whole_word boolean NOT NULL,
    prefix     text,
    action     text NOT NULL,
    reply_text text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE INDEX rules_agent ON rules (agent_id, id);

CREATE TABLE conversations (
    id              uuid PRIMARY KEY NOT NULL,
    contact_id      uuid NOT NULL,
    phone_number_id text NOT NULL,
    agent_id        text,
    mode            text NOT NULL,
    last_inbound_at timestamptz,
    lease_token     bigint NOT NULL,
    lease_until     timestamptz,
    created_at      timestamptz NOT NULL
);
CREATE UNIQUE INDEX conversations_contact ON conversations (contact_id, phone_number_id);
CREATE INDEX conversations_agent ON conversations (agent_id) WHERE agent_id IS NOT NULL;

CREATE TABLE inbound_messages (
    conversation_id            uuid NOT NULL,
    id                         uuid NOT NULL,
    phone_number_id            text NOT NULL,
    provider_message_id        text NOT NULL,
    target_provider_message_id text,
    kind                       text NOT NULL,
    nature                     text NOT NULL,
    text                       text,
    payload                    jsonb NOT NULL,
    reply_to_kind              text NOT NULL,
    reply_to                   text NOT NULL,
    sent_at                    timestamptz NOT NULL,
    received_at                timestamptz NOT NULL,
    state                      text NOT NULL,
    failures                   integer NOT NULL,
    error                      jsonb,
    turn_id                    uuid,
    PRIMARY KEY (conversation_id, id)
);
CREATE UNIQUE INDEX inbound_messages_provider ON inbound_messages (phone_number_id, provider_message_id);
-- The state stands first so that a long conversation is not walked through: SQLite would take the primary key instead.
CREATE INDEX inbound_messages_pending ON inbound_messages (state, conversation_id, id) WHERE state = 'pending';
CREATE INDEX inbound_messages_target ON inbound_messages (target_provider_message_id, nature, conversation_id)
    WHERE target_provider_message_id IS NOT NULL;

CREATE TABLE turns (
    conversation_id uuid NOT NULL,
    id              uuid NOT NULL,
    agent_id        text NOT NULL,
    agent_version   bigint NOT NULL,
    started_at      timestamptz NOT NULL,
    finished_at     timestamptz NOT NULL,
    trace           jsonb NOT NULL,
    PRIMARY KEY (conversation_id, id)
);

CREATE TABLE outbound_messages (
    conversation_id     uuid NOT NULL,
    id                  uuid NOT NULL,
    idempotency_key     text NOT NULL,
    turn_id             uuid,
    answers_provider_message_id text,
    phone_number_id     text NOT NULL,
    to_kind             text NOT NULL,
    to_value            text NOT NULL,
    kind                text NOT NULL,
    body                jsonb NOT NULL,
    ignores_opt_out     boolean NOT NULL,
    state               text NOT NULL,
    attempts            integer NOT NULL,
    resends             integer NOT NULL,
    not_before          timestamptz,
    sending_at          timestamptz,
    provider_message_id text,
    error               jsonb,
    request             jsonb,
    price               jsonb,
    created_at          timestamptz NOT NULL,
    updated_at          timestamptz NOT NULL,
    PRIMARY KEY (conversation_id, id)
);
CREATE UNIQUE INDEX outbound_messages_key ON outbound_messages (idempotency_key);
CREATE INDEX outbound_messages_id ON outbound_messages (id);
CREATE INDEX outbound_messages_provider ON outbound_messages (provider_message_id) WHERE provider_message_id IS NOT NULL;
CREATE INDEX outbound_messages_open ON outbound_messages (state, conversation_id, id)
    WHERE state IN ('queued', 'sending', 'unknown', 'held');
CREATE INDEX outbound_messages_aside ON outbound_messages (state, id)
    WHERE state NOT IN ('sent', 'delivered', 'read', 'played');

CREATE TABLE delivery_attempts (
    conversation_id uuid NOT NULL,
    outbound_id     uuid NOT NULL,
    attempt         integer NOT NULL,
    started_at      timestamptz NOT NULL,
    finished_at     timestamptz,
    outcome         text,
    http_status     integer,
    error           jsonb,
    PRIMARY KEY (conversation_id, outbound_id, attempt)
);

CREATE TABLE delivery_events (
    id                  uuid PRIMARY KEY NOT NULL,
    phone_number_id     text NOT NULL,
    provider_message_id text NOT NULL,
    status              text NOT NULL,
    recipient           text NOT NULL,
    conversation_id     uuid,
    outbound_id         uuid,
    occurred_at         timestamptz NOT NULL,
    received_at         timestamptz NOT NULL,
    error               jsonb,
    price               jsonb
);
CREATE UNIQUE INDEX delivery_events_status ON delivery_events (provider_message_id, status, recipient);
CREATE INDEX delivery_events_line ON delivery_events (phone_number_id, received_at);

-- Account news, fields without a table of their own, and what could not be understood: as it came.
CREATE TABLE webhook_events (
    id          uuid PRIMARY KEY NOT NULL,
    kind        text NOT NULL,
    waba_id     text,
    reason      text,
    raw         text NOT NULL,
    received_at timestamptz NOT NULL
);
