CREATE TABLE checkpoints (
    mapping_id TEXT NOT NULL,
    shard TEXT NOT NULL,
    position TEXT NOT NULL,  -- JSON
    PRIMARY KEY (mapping_id, shard)
) WITHOUT ROWID;
