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
