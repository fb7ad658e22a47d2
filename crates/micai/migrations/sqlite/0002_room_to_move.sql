-- An identifier is held (one row, unique) or past. One index over both was a second entry for each.
DROP INDEX contact_identities_value;
CREATE INDEX contact_identities_past ON contact_identities (portfolio_id, kind, value) WHERE superseded_at IS NOT NULL;

-- What goes well passes through `queued` and `sending` only: those have the index of open sends.
DROP INDEX outbound_messages_aside;
CREATE INDEX outbound_messages_aside ON outbound_messages (state, id)
    WHERE state IN ('held', 'suppressed', 'unknown', 'failed', 'cancelled');
