-- Dead letters. A replay is the same row with a new life: attempts are counted on (their numbers tell late answers of the old
-- life from new ones), and `attempts_before` says how many of them the new life does not answer for.
ALTER TABLE outbound_messages ADD COLUMN replays INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbound_messages ADD COLUMN replayed_at INTEGER;
ALTER TABLE outbound_messages ADD COLUMN attempts_before INTEGER NOT NULL DEFAULT 0;
ALTER TABLE inbound_messages ADD COLUMN replays INTEGER NOT NULL DEFAULT 0;

-- What people decided about a message, and what the row said before: the old life stays readable.
CREATE TABLE message_actions (
    conversation_id     BLOB NOT NULL,
    message_id          BLOB NOT NULL,
    id                  BLOB NOT NULL,
    direction           TEXT NOT NULL,
    action              TEXT NOT NULL,
    actor               TEXT NOT NULL,
    reason              TEXT,
    attempts            INTEGER NOT NULL,
    provider_message_id TEXT,
    body                TEXT,
    error               TEXT,
    acted_at            INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, message_id, id)
) STRICT, WITHOUT ROWID;

-- Letters stand in groups by what killed them: WhatsApp's code, else our own word. Only what has failed is in these.
CREATE INDEX outbound_messages_letters
    ON outbound_messages (coalesce(CAST(error ->> 'code' AS TEXT), error ->> 'reason', 'unnamed'), id) WHERE state = 'failed';
CREATE INDEX inbound_messages_letters
    ON inbound_messages (coalesce(error ->> 'reason', 'turn_failed'), id) WHERE state = 'dead';
CREATE INDEX inbound_messages_dead ON inbound_messages (id) WHERE state = 'dead';
