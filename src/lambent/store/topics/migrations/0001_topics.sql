-- Topics, who subscribes to them, and what each subscription is still owed. Times are milliseconds since the epoch.

CREATE TABLE topics (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id TEXT NOT NULL,
    region     TEXT NOT NULL,
    name       TEXT NOT NULL,
    attributes TEXT NOT NULL,              -- JSON: name → text, as they were set
    tags       TEXT NOT NULL,              -- JSON
    sequence   INTEGER NOT NULL DEFAULT 0, -- the last number that a message of a FIFO topic was given
    UNIQUE (account_id, region, name)
);

CREATE TABLE subscriptions (
    id       TEXT PRIMARY KEY,             -- UUID, the last part of its ARN
    topic_id INTEGER NOT NULL REFERENCES topics ON DELETE CASCADE,
    number   INTEGER NOT NULL,             -- the order in which they came
    details  TEXT NOT NULL                 -- JSON
) WITHOUT ROWID;
CREATE INDEX subscriptions_of_topic ON subscriptions (topic_id);

-- A message is kept once, however many are to have it, and until the last of them has it.
CREATE TABLE messages (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    sequence INTEGER,                      -- of FIFO topics
    content  BLOB NOT NULL                 -- msgpack
);

CREATE TABLE deliveries (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,  -- rises in the order of publishing
    message_id  INTEGER NOT NULL REFERENCES messages,
    lane        TEXT NOT NULL,             -- a subscription's id, or what else is served in an order of its own
    accepted_ms INTEGER NOT NULL,
    due_ms      INTEGER NOT NULL,          -- not to be tried before
    tries       INTEGER NOT NULL DEFAULT 0 -- that failed
);
CREATE INDEX deliveries_due ON deliveries (lane, due_ms, id);
CREATE INDEX deliveries_in_order ON deliveries (lane, id);
CREATE INDEX deliveries_of_message ON deliveries (message_id);

CREATE TABLE duplicates (
    topic_id         INTEGER NOT NULL REFERENCES topics ON DELETE CASCADE,
    scope            TEXT NOT NULL,        -- the group's id, or '' for the whole topic
    deduplication_id TEXT NOT NULL,
    message_id       TEXT NOT NULL,
    sequence         INTEGER NOT NULL,
    expires_ms       INTEGER NOT NULL,
    PRIMARY KEY (topic_id, scope, deduplication_id)
) WITHOUT ROWID;
CREATE INDEX duplicates_by_expiry ON duplicates (expires_ms);

CREATE TABLE secrets (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;
