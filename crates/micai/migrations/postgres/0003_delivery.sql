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
