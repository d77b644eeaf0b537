-- What accepting, claiming and ending events writes, as one statement: the interpreter's lock is given away and waited for around
-- every one, and a statement that fails leaves nothing behind. Columns are JSON arrays of rows;
-- `attempted` of ids.

CREATE VIEW changes AS SELECT '' AS accepted, '' AS payloads, '' AS attempted, '' AS ended, '' AS steps, '' AS deliveries;
CREATE TRIGGER change INSTEAD OF INSERT ON changes BEGIN
    INSERT INTO events (id, account_id, region, name, request_id, invocation, payload_bytes, accepted_ms, state, due_ms)
        SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->5, value->>6, value->>7, 0, value->>7
        FROM json_each(new.accepted);
    INSERT INTO payloads SELECT value->>0, CAST(value->>1 AS BLOB) FROM json_each(new.payloads);
    UPDATE events SET state = 1, attempts = attempts + 1 WHERE id IN (SELECT value FROM json_each(new.attempted));
    UPDATE events SET state = 2, due_ms = one.value->>1, attempts = one.value->>2
        FROM json_each(new.ended) AS one WHERE events.id = one.value->>0;
    INSERT INTO steps (event_id, at_ms, what, detail)
        SELECT value->>0, value->>1, value->>2, value->3 FROM json_each(new.steps);
    INSERT INTO deliveries (event_id, target, message, body, created_ms, due_ms)
        SELECT value->>0, value->>1, value->2, CAST(value->>3 AS BLOB), value->>4, value->>4 FROM json_each(new.deliveries);
END;
