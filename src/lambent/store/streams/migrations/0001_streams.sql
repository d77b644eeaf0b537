CREATE TABLE streams (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id TEXT NOT NULL,
    region TEXT NOT NULL,
    name TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    version BLOB NOT NULL,                    -- random: another one with every change of the stream or its shards
    settings TEXT NOT NULL,                   -- JSON
    UNIQUE (account_id, region, name)
);

CREATE TABLE shards (
    id INTEGER PRIMARY KEY AUTOINCREMENT,     -- the upper bits of its records' ids: never given twice
    stream_id INTEGER NOT NULL,
    number INTEGER NOT NULL,                  -- the one in "shardId-000000000001"
    first_hash TEXT NOT NULL,                 -- 128 bits in decimal
    last_hash TEXT NOT NULL,
    epoch_s INTEGER NOT NULL,                 -- what its sequence numbers begin with
    opened_ms INTEGER NOT NULL,
    closed_ms INTEGER,
    parent INTEGER,                           -- numbers of shards
    adjacent_parent INTEGER,
    trimmed INTEGER NOT NULL DEFAULT 0,       -- the highest position that was taken away
    UNIQUE (stream_id, number)
);

-- One place after the other within a shard: reading is a range of the primary key.
CREATE TABLE records (
    id INTEGER PRIMARY KEY,                   -- shard's id << 40 | position
    arrived_ms INTEGER NOT NULL,              -- never falls within a shard
    partition_key TEXT,
    encrypted INTEGER NOT NULL,
    data BLOB NOT NULL
);

CREATE TABLE rubbish (shard_id INTEGER PRIMARY KEY); -- shards that are gone, whose records are not yet

CREATE TABLE secret (value BLOB NOT NULL);   -- one row: what iterators are sealed with
INSERT INTO secret VALUES (randomblob(32));
