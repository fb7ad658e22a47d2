-- Changes whenever an identifier moves to somebody else or two people turn out to be one. Whoever remembers who is who
-- writes only while this is what it was. (Postgres also turns an index round here; in SQLite it stands well as it is.)
CREATE TABLE people_versions (
    name    TEXT PRIMARY KEY NOT NULL,
    version BLOB NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO people_versions (name, version) VALUES ('who_is_who', zeroblob(16));
