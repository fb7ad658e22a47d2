-- Dead letters. A replay is the same row with a new life: attempts are counted on (their numbers tell late answers of the old
-- life from new ones), and `attempts_before` says how many of them the new life does not answer for.
ALTER TABLE outbound_messages ADD COLUMN replays integer NOT NULL DEFAULT 0;
ALTER TABLE outbound_messages ADD COLUMN replayed_at timestamptz;
ALTER TABLE outbound_messages ADD COLUMN attempts_before integer NOT NULL DEFAULT 0;
ALTER TABLE inbound_messages ADD COLUMN replays integer NOT NULL DEFAULT 0;

-- What people decided about a message, and what the row said before: the old life stays readable.
CREATE TABLE message_actions (
    conversation_id     uuid NOT NULL,
    message_id          uuid NOT NULL,
    id                  uuid NOT NULL,
    direction           text NOT NULL,
    action              text NOT NULL,
    actor               text NOT NULL,
    reason              text,
    attempts            integer NOT NULL,
    provider_message_id text,
    body                jsonb,
    error               jsonb,
    acted_at            timestamptz NOT NULL,
    PRIMARY KEY (conversation_id, message_id, id)
);

-- Letters stand in groups by what killed them: WhatsApp's code, else our own word. Only what has failed is in these.
CREATE INDEX outbound_messages_letters
    ON outbound_messages (coalesce(CAST(error ->> 'code' AS text), error ->> 'reason', 'unnamed'), id) WHERE state = 'failed';
CREATE INDEX inbound_messages_letters
    ON inbound_messages (coalesce(error ->> 'reason', 'turn_failed'), id) WHERE state = 'dead';
CREATE INDEX inbound_messages_dead ON inbound_messages (id) WHERE state = 'dead';
