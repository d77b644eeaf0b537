-- Asynchronous events: the queue, what happened to each, and what is to be sent because of them. Times are milliseconds
-- since the epoch. An event stays after its end, with its payload, until it is forgotten by age, number or size.

CREATE TABLE events (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id      TEXT NOT NULL,
    region          TEXT NOT NULL,
    name            TEXT NOT NULL,     -- the function's
    request_id      TEXT NOT NULL,
    invocation      TEXT NOT NULL,     -- JSON: what else the caller said: qualifier, client context, trace header…
    payload_bytes   INTEGER NOT NULL,
    accepted_ms     INTEGER NOT NULL,
    state           INTEGER NOT NULL,  -- 0 waits, 1 is being attempted, 2 over
    due_ms          INTEGER NOT NULL,  -- not to be attempted before; when it ended, once it is over
    attempts        INTEGER NOT NULL DEFAULT 0,  -- begun; those that were refused are taken off again
    function_errors INTEGER NOT NULL DEFAULT 0,
    refusals        INTEGER NOT NULL DEFAULT 0   -- throttles and system errors since it last ran
);
CREATE INDEX events_waiting ON events (account_id, region, name, due_ms, id) WHERE state = 0;
CREATE INDEX events_attempted ON events (id) WHERE state = 1;
CREATE INDEX events_over ON events (due_ms, id) WHERE state = 2;
-- Also finds an event by its request id, among its function's: an index of those random texts would make accepting slower by half.
CREATE INDEX events_of_function ON events (account_id, region, name, id);

-- Apart, so that a change of its event's state does not write a megabyte again.
CREATE TABLE payloads (
    event_id INTEGER PRIMARY KEY REFERENCES events ON DELETE CASCADE,
    body     BLOB NOT NULL
);

CREATE TABLE steps (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id INTEGER NOT NULL REFERENCES events ON DELETE CASCADE,
    at_ms    INTEGER NOT NULL,
    what     TEXT NOT NULL,
    detail   TEXT NOT NULL              -- JSON object
);
CREATE INDEX steps_of_event ON steps (event_id, id);

-- Records and dead letters that their targets have not taken yet.
CREATE TABLE deliveries (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id   INTEGER NOT NULL REFERENCES events ON DELETE CASCADE,
    target     TEXT NOT NULL,           -- ARN
    message    TEXT NOT NULL,           -- JSON: what kind it is, for whom, and what goes beside the body
    body       BLOB NOT NULL,
    created_ms INTEGER NOT NULL,
    due_ms     INTEGER NOT NULL,
    tries      INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX deliveries_due ON deliveries (target, due_ms, id);
CREATE INDEX deliveries_of_event ON deliveries (event_id);
