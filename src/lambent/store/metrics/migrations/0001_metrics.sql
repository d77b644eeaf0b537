CREATE TABLE metrics (
    id INTEGER PRIMARY KEY,
    account_id TEXT NOT NULL,
    region TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    dimensions TEXT NOT NULL,                 -- JSON: [[name, value], …], sorted
    last_s INTEGER NOT NULL,                  -- its latest point begins then
    UNIQUE (account_id, region, namespace, name, dimensions)
);

-- What was reported within `period_s` seconds from `at_s`, in one unit.
CREATE TABLE points (
    metric_id INTEGER NOT NULL,
    period_s INTEGER NOT NULL,                -- 1, 60, 300, 3600
    at_s INTEGER NOT NULL,
    unit TEXT NOT NULL,
    count REAL NOT NULL,
    total REAL NOT NULL,
    least REAL NOT NULL,
    greatest REAL NOT NULL,
    spread BLOB,                              -- msgpack: how the values are spread; NULL: not known
    PRIMARY KEY (metric_id, period_s, at_s, unit)
) WITHOUT ROWID;
CREATE INDEX points_by_age ON points (period_s, at_s);
