-- Instants are INTEGER microseconds since 1970 (UTC), ids are 16-byte UUIDs, JSON is TEXT.

CREATE TABLE contacts (
    id            BLOB PRIMARY KEY NOT NULL,
    name          TEXT,
    username      TEXT,
    opted_out_at  INTEGER,
    marketing_stopped_at INTEGER,
    merged_into   BLOB,
    created_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Superseded, never deleted: an old identifier still leads to its contact unless somebody else holds it now.
CREATE TABLE contact_identities (
    id            BLOB PRIMARY KEY NOT NULL,
    portfolio_id  TEXT NOT NULL,
    kind          TEXT NOT NULL,
    value         TEXT NOT NULL,
    contact_id    BLOB NOT NULL,
    created_at    INTEGER NOT NULL,
    superseded_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX contact_identities_live ON contact_identities (portfolio_id, kind, value) WHERE superseded_at IS NULL;
CREATE INDEX contact_identities_value ON contact_identities (portfolio_id, kind, value);
CREATE INDEX contact_identities_contact ON contact_identities (contact_id);

CREATE TABLE agents (
    id                  TEXT PRIMARY KEY NOT NULL,
    version             INTEGER NOT NULL,
    name                TEXT NOT NULL,
    purpose             TEXT NOT NULL,
    persona             TEXT NOT NULL,
    fallback_reply      TEXT,
    stale_after_seconds INTEGER NOT NULL,
    stale_policy        TEXT NOT NULL,
    created_at          INTEGER NOT NULL,
    updated_at          INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE rules (
    id         TEXT PRIMARY KEY NOT NULL,
    agent_id   TEXT NOT NULL REFERENCES agents (id),
    kind       TEXT NOT NULL,
    enabled    INTEGER NOT NULL,
    priority   INTEGER NOT NULL,
    keywords   TEXT NOT NULL,
    keyword_count INTEGER NOT NULL,
    keyword_bytes INTEGER NOT NULL,
    whole_word INTEGER NOT NULL,
    prefix     TEXT,
    action     TEXT NOT NULL,
    reply_text TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX rules_agent ON rules (agent_id, id);

CREATE TABLE conversations (
    id              BLOB PRIMARY KEY NOT NULL,
    contact_id      BLOB NOT NULL,
    phone_number_id TEXT NOT NULL,
    agent_id        TEXT,
    mode            TEXT NOT NULL,
    last_inbound_at INTEGER,
    lease_token     INTEGER NOT NULL,
    lease_until     INTEGER,
    created_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX conversations_contact ON conversations (contact_id, phone_number_id);
CREATE INDEX conversations_agent ON conversations (agent_id) WHERE agent_id IS NOT NULL;

CREATE TABLE inbound_messages (
    conversation_id            BLOB NOT NULL,
    id                         BLOB NOT NULL,
    phone_number_id            TEXT NOT NULL,
    provider_message_id        TEXT NOT NULL,
    target_provider_message_id TEXT,
    kind                       TEXT NOT NULL,
    nature                     TEXT NOT NULL,
    text                       TEXT,
    payload                    TEXT NOT NULL,
    reply_to_kind              TEXT NOT NULL,
    reply_to                   TEXT NOT NULL,
    sent_at                    INTEGER NOT NULL,
    received_at                INTEGER NOT NULL,
    state                      TEXT NOT NULL,
    failures                   INTEGER NOT NULL,
    error                      TEXT,
    turn_id                    BLOB,
    PRIMARY KEY (conversation_id, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX inbound_messages_provider ON inbound_messages (phone_number_id, provider_message_id);
-- The state stands first so that a long conversation is not walked through: SQLite would take the primary key instead.
CREATE INDEX inbound_messages_pending ON inbound_messages (state, conversation_id, id) WHERE state = 'pending';
CREATE INDEX inbound_messages_target ON inbound_messages (target_provider_message_id, nature, conversation_id)
    WHERE target_provider_message_id IS NOT NULL;

CREATE TABLE turns (
    conversation_id BLOB NOT NULL,
    id              BLOB NOT NULL,
    agent_id        TEXT NOT NULL,
    agent_version   INTEGER NOT NULL,
    started_at      INTEGER NOT NULL,
    finished_at     INTEGER NOT NULL,
    trace           TEXT NOT NULL,
    PRIMARY KEY (conversation_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE outbound_messages (
    conversation_id     BLOB NOT NULL,
    id                  BLOB NOT NULL,
    idempotency_key     TEXT NOT NULL,
    turn_id             BLOB,
    answers_provider_message_id TEXT,
    phone_number_id     TEXT NOT NULL,
    to_kind             TEXT NOT NULL,
    to_value            TEXT NOT NULL,
    kind                TEXT NOT NULL,
    body                TEXT NOT NULL,
    ignores_opt_out     INTEGER NOT NULL,
    state               TEXT NOT NULL,
    attempts            INTEGER NOT NULL,
    resends             INTEGER NOT NULL,
    not_before          INTEGER,
    sending_at          INTEGER,
    provider_message_id TEXT,
    error               TEXT,
    request             TEXT,
    price               TEXT,
    created_at          INTEGER NOT NULL,
    updated_at          INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX outbound_messages_key ON outbound_messages (idempotency_key);
CREATE INDEX outbound_messages_id ON outbound_messages (id);
CREATE INDEX outbound_messages_provider ON outbound_messages (provider_message_id) WHERE provider_message_id IS NOT NULL;
CREATE INDEX outbound_messages_open ON outbound_messages (state, conversation_id, id)
    WHERE state IN ('queued', 'sending', 'unknown', 'held');
CREATE INDEX outbound_messages_aside ON outbound_messages (state, id)
    WHERE state NOT IN ('sent', 'delivered', 'read', 'played');

CREATE TABLE delivery_attempts (
    conversation_id BLOB NOT NULL,
    outbound_id     BLOB NOT NULL,
    attempt         INTEGER NOT NULL,
    started_at      INTEGER NOT NULL,
    finished_at     INTEGER,
    outcome         TEXT,
    http_status     INTEGER,
    error           TEXT,
    PRIMARY KEY (conversation_id, outbound_id, attempt)
) STRICT, WITHOUT ROWID;

CREATE TABLE delivery_events (
    id                  BLOB PRIMARY KEY NOT NULL,
    phone_number_id     TEXT NOT NULL,
    provider_message_id TEXT NOT NULL,
    status              TEXT NOT NULL,
    recipient           TEXT NOT NULL,
    conversation_id     BLOB,
    outbound_id         BLOB,
    occurred_at         INTEGER NOT NULL,
    received_at         INTEGER NOT NULL,
    error               TEXT,
    price               TEXT
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX delivery_events_status ON delivery_events (provider_message_id, status, recipient);
CREATE INDEX delivery_events_line ON delivery_events (phone_number_id, received_at);

-- Account news, fields without a table of their own, and what could not be understood: as it came.
CREATE TABLE webhook_events (
    id          BLOB PRIMARY KEY NOT NULL,
    kind        TEXT NOT NULL,
    waba_id     TEXT,
    reason      TEXT,
    raw         TEXT NOT NULL,
    received_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
