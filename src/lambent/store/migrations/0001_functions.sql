-- Functions, versions, aliases and layers. `doc` is a value of lambent.model.function as JSON; the columns beside it
-- are what is searched for. Numbers of versions are never used twice, not even after a function was deleted.

CREATE TABLE functions (
    account_id TEXT NOT NULL,
    region     TEXT NOT NULL,
    name       TEXT NOT NULL,
    latest     TEXT NOT NULL,  -- $LATEST
    serving    TEXT,           -- what invocations use while an update of $LATEST is being made ready, or has failed
    settings   TEXT NOT NULL,  -- what belongs to the function and not to a version: tags, reserved concurrency
    pending    INTEGER NOT NULL,  -- 1: `latest` is yet to be made ready
    PRIMARY KEY (account_id, region, name)
) WITHOUT ROWID;

CREATE TABLE versions (
    account_id TEXT NOT NULL,
    region     TEXT NOT NULL,
    name       TEXT NOT NULL,
    version    INTEGER NOT NULL,
    doc        TEXT NOT NULL,
    pending    INTEGER NOT NULL,
    PRIMARY KEY (account_id, region, name, version),
    FOREIGN KEY (account_id, region, name) REFERENCES functions ON DELETE CASCADE
) WITHOUT ROWID;

CREATE TABLE aliases (
    account_id TEXT NOT NULL,
    region     TEXT NOT NULL,
    name       TEXT NOT NULL,  -- the function's
    alias      TEXT NOT NULL,
    doc        TEXT NOT NULL,
    PRIMARY KEY (account_id, region, name, alias),
    FOREIGN KEY (account_id, region, name) REFERENCES functions ON DELETE CASCADE
) WITHOUT ROWID;

CREATE TABLE layer_versions (
    account_id TEXT NOT NULL,
    region     TEXT NOT NULL,
    name       TEXT NOT NULL,
    version    INTEGER NOT NULL,
    doc        TEXT NOT NULL,
    PRIMARY KEY (account_id, region, name, version)
) WITHOUT ROWID;

CREATE TABLE counters (
    account_id TEXT NOT NULL,
    region     TEXT NOT NULL,
    kind       TEXT NOT NULL,  -- 'function' or 'layer'
    name       TEXT NOT NULL,
    last       INTEGER NOT NULL,
    PRIMARY KEY (account_id, region, kind, name)
) WITHOUT ROWID;

CREATE TABLE secrets (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;
