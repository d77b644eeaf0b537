-- What control operations keep beside functions and layers: event source mappings, code signing configurations…
-- One row each, as JSON; `kind` is the operation family's own name for it.
CREATE TABLE documents (
    account_id TEXT NOT NULL,
    region TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    doc TEXT NOT NULL,
    PRIMARY KEY (account_id, region, kind, name)
) WITHOUT ROWID;
