-- What EventBridge and Scheduler owe to targets, what archives keep, and how far each schedule and replay has come.
-- Times are milliseconds since the epoch.

CREATE TABLE deliveries (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    lane        TEXT NOT NULL,              -- the target's ARN: one that is down delays no other
    about       TEXT NOT NULL,              -- JSON: for whom, how, how long
    accepted_ms INTEGER NOT NULL,
    due_ms      INTEGER NOT NULL,           -- not to be tried before
    tries       INTEGER NOT NULL DEFAULT 0  -- that failed
);
CREATE INDEX deliveries_due ON deliveries (lane, due_ms, id);

-- Apart, so that another try does not write a megabyte again.
CREATE TABLE bodies (
    delivery_id INTEGER PRIMARY KEY REFERENCES deliveries ON DELETE CASCADE,
    body        BLOB NOT NULL
);

CREATE TABLE archived (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    archive TEXT NOT NULL,                  -- ARN, and when the archive was made: one that is deleted is never meant again
    at_ms   INTEGER NOT NULL,
    bytes   INTEGER NOT NULL,
    event   BLOB NOT NULL                   -- JSON
);
CREATE INDEX archived_by_time ON archived (archive, at_ms, id, bytes);

-- When a schedule fired last; up to which archived event a replay has come.
CREATE TABLE marks (
    owner TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
