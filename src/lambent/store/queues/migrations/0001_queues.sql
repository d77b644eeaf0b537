CREATE TABLE queues (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    bucket INTEGER NOT NULL UNIQUE,           -- what messages refer to; a purge gives the queue a new one
    account_id TEXT NOT NULL,
    region TEXT NOT NULL,
    name TEXT NOT NULL,
    attributes TEXT NOT NULL,                 -- JSON: name → text, as they were set
    tags TEXT NOT NULL,                       -- JSON
    created_ms INTEGER NOT NULL,
    modified_ms INTEGER NOT NULL,
    purged_ms INTEGER NOT NULL DEFAULT 0,
    UNIQUE (account_id, region, name)
);

CREATE TABLE buckets (last INTEGER NOT NULL); -- one row: the highest bucket that was ever given
INSERT INTO buckets VALUES (0);

CREATE TABLE deleted_queues (
    account_id TEXT NOT NULL,
    region TEXT NOT NULL,
    name TEXT NOT NULL,
    deleted_ms INTEGER NOT NULL,
    PRIMARY KEY (account_id, region, name)
) WITHOUT ROWID;

-- What changes while a message lives. Ids rise with the order of arrival and are never used twice.
CREATE TABLE messages (
    id INTEGER PRIMARY KEY,
    bucket INTEGER NOT NULL,
    visible_ms INTEGER NOT NULL,              -- it can be received from then on
    sent_ms INTEGER NOT NULL,
    receive_count INTEGER NOT NULL DEFAULT 0,
    received_ms INTEGER NOT NULL DEFAULT 0,   -- the last time
    first_received_ms INTEGER NOT NULL DEFAULT 0,
    receipt INTEGER NOT NULL DEFAULT 0,       -- random: the last receipt handle's
    group_id TEXT                             -- of FIFO queues only
);
CREATE INDEX messages_by_visibility ON messages (bucket, visible_ms);
CREATE INDEX messages_by_group ON messages (bucket, group_id, id) WHERE group_id IS NOT NULL;

-- What does not.
CREATE TABLE contents (
    id INTEGER PRIMARY KEY,
    message_id TEXT NOT NULL,
    body TEXT NOT NULL,
    body_md5 TEXT NOT NULL,
    attributes BLOB,                          -- msgpack
    trace_header TEXT,
    sender_id TEXT NOT NULL,
    group_id TEXT,                            -- of both kinds of queues
    deduplication_id TEXT,
    dead_letter_source TEXT                   -- ARN of the queue that gave it up
);

-- Groups of FIFO queues that have messages. None of a group can be received before `ready_ms`.
CREATE TABLE groups (
    bucket INTEGER NOT NULL,
    group_id TEXT NOT NULL,
    ready_ms INTEGER NOT NULL,
    PRIMARY KEY (bucket, group_id)
) WITHOUT ROWID;
CREATE INDEX groups_by_readiness ON groups (bucket, ready_ms);

CREATE TABLE duplicates (
    queue_id INTEGER NOT NULL,
    scope TEXT NOT NULL,                      -- the group's id, or '' for the whole queue
    deduplication_id TEXT NOT NULL,
    message_id TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    PRIMARY KEY (queue_id, scope, deduplication_id)
) WITHOUT ROWID;
CREATE INDEX duplicates_by_expiry ON duplicates (expires_ms);

CREATE TABLE attempts (
    queue_id INTEGER NOT NULL,
    attempt_id TEXT NOT NULL,
    expires_ms INTEGER NOT NULL,
    receipts TEXT NOT NULL,                   -- JSON: [[message's id, receipt, visible_ms], …]
    PRIMARY KEY (queue_id, attempt_id)
) WITHOUT ROWID;
CREATE INDEX attempts_by_expiry ON attempts (expires_ms);

CREATE TABLE move_tasks (
    id TEXT PRIMARY KEY,
    source_id INTEGER NOT NULL,               -- queue
    source_arn TEXT NOT NULL,
    destination_arn TEXT,                     -- NULL: each message goes back to where it came from
    per_second INTEGER,
    status TEXT NOT NULL,
    moved INTEGER NOT NULL DEFAULT 0,
    to_move INTEGER NOT NULL,
    failure TEXT,
    started_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX move_tasks_by_source ON move_tasks (source_id, started_ms);
