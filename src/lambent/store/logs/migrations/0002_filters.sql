-- Subscription and metric filters: they go with their group.
CREATE TABLE filters (
    group_id INTEGER NOT NULL,
    kind TEXT NOT NULL,                       -- 'subscription' or 'metric'
    name TEXT NOT NULL,
    document TEXT NOT NULL,                   -- JSON: AWS's members
    PRIMARY KEY (group_id, kind, name)
) WITHOUT ROWID;

-- What subscriptions are still owed: written with the lines themselves, taken away when it was handed over.
CREATE TABLE owed (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    group_id INTEGER NOT NULL,
    filter TEXT NOT NULL,
    stream TEXT NOT NULL,
    accepted_ms INTEGER NOT NULL,
    due_ms INTEGER NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    body BLOB NOT NULL                        -- as chunks' bodies
);
CREATE INDEX owed_in_time ON owed (due_ms, id);
CREATE INDEX owed_to_filters ON owed (group_id, filter);
