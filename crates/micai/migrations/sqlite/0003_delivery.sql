-- What somebody must look at: one open row for each kind and subject, which counts.
CREATE TABLE alerts (
    id              BLOB PRIMARY KEY NOT NULL,
    kind            TEXT NOT NULL,
    subject         TEXT NOT NULL,
    severity        TEXT NOT NULL,
    sentence        TEXT NOT NULL,
    evidence        TEXT NOT NULL,
    times           INTEGER NOT NULL,
    raised_at       INTEGER NOT NULL,
    last_raised_at  INTEGER NOT NULL,
    acknowledged_at INTEGER,
    acknowledged_by TEXT,
    cleared_at      INTEGER
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX alerts_open ON alerts (kind, subject) WHERE cleared_at IS NULL;
CREATE INDEX alerts_open_id ON alerts (id) WHERE cleared_at IS NULL;
