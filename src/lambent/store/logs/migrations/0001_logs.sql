CREATE TABLE groups (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id TEXT NOT NULL,
    region TEXT NOT NULL,
    name TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    retention_days INTEGER,                   -- NULL: kept for ever
    stored_bytes INTEGER NOT NULL DEFAULT 0,  -- as AWS counts: UTF-8 of each message + 26
    attributes TEXT NOT NULL DEFAULT '{}',    -- JSON: members that are stored and given back
    tags TEXT NOT NULL DEFAULT '{}',          -- JSON
    UNIQUE (account_id, region, name)
);

CREATE TABLE streams (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    group_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    first_event_ms INTEGER,                   -- NULL: no events yet
    last_event_ms INTEGER NOT NULL DEFAULT 0,
    last_ingestion_ms INTEGER NOT NULL DEFAULT 0,
    stored_bytes INTEGER NOT NULL DEFAULT 0,
    small_chunks INTEGER NOT NULL DEFAULT 0,  -- how many wait to be compacted
    UNIQUE (group_id, name)
);
CREATE INDEX streams_by_last_event ON streams (group_id, last_event_ms, name);

CREATE TABLE chunks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,     -- never used twice: readers cache by it
    group_id INTEGER NOT NULL,
    stream_id INTEGER NOT NULL,
    first_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    first_id INTEGER NOT NULL,
    last_id INTEGER NOT NULL,
    events INTEGER NOT NULL,
    raw_bytes INTEGER NOT NULL,
    body BLOB NOT NULL
);
-- Covering what a reader asks before it opens a chunk, so that bodies are not touched.
CREATE INDEX chunks_by_first ON chunks (group_id, first_ms, last_ms, stream_id);
CREATE INDEX chunks_by_last ON chunks (group_id, last_ms, first_ms, stream_id);
CREATE INDEX chunks_of_stream ON chunks (stream_id, first_ms, last_ms, raw_bytes);

-- Streams that are gone but whose chunks still take room; emptied in the background.
CREATE TABLE garbage (stream_id INTEGER PRIMARY KEY);
