-- What an account has in a region, kept with every change: summing ten thousand documents for each new function takes
-- longer than all the rest of it.

CREATE TABLE usage (
    account_id TEXT NOT NULL,
    region     TEXT NOT NULL,
    functions  INTEGER NOT NULL DEFAULT 0,
    code_bytes INTEGER NOT NULL DEFAULT 0,  -- zipped: every version of every function, and every layer version
    reserved   INTEGER NOT NULL DEFAULT 0,  -- concurrency, of all functions together
    PRIMARY KEY (account_id, region)
) WITHOUT ROWID;

INSERT INTO usage (account_id, region, functions, code_bytes, reserved)
    SELECT account_id, region, sum(functions), sum(code_bytes), sum(reserved) FROM (
        SELECT account_id, region, 1 AS functions, coalesce(json_extract(latest, '$.code_size_bytes'), 0) AS code_bytes,
            coalesce(json_extract(settings, '$.reserved_concurrency'), 0) AS reserved FROM functions
        UNION ALL SELECT account_id, region, 0, coalesce(json_extract(doc, '$.code_size_bytes'), 0), 0 FROM versions
        UNION ALL SELECT account_id, region, 0, coalesce(json_extract(doc, '$.code_size_bytes'), 0), 0 FROM layer_versions
    ) GROUP BY account_id, region;

CREATE TRIGGER functions_added AFTER INSERT ON functions BEGIN
    INSERT INTO usage (account_id, region) VALUES (new.account_id, new.region) ON CONFLICT DO NOTHING;
    UPDATE usage SET functions = functions + 1,
        code_bytes = code_bytes + coalesce(json_extract(new.latest, '$.code_size_bytes'), 0),
        reserved = reserved + coalesce(json_extract(new.settings, '$.reserved_concurrency'), 0)
        WHERE account_id = new.account_id AND region = new.region;
END;
CREATE TRIGGER functions_changed AFTER UPDATE OF latest ON functions BEGIN
    UPDATE usage SET code_bytes = code_bytes + coalesce(json_extract(new.latest, '$.code_size_bytes'), 0)
        - coalesce(json_extract(old.latest, '$.code_size_bytes'), 0)
        WHERE account_id = new.account_id AND region = new.region;
END;
CREATE TRIGGER functions_reserved AFTER UPDATE OF settings ON functions BEGIN
    UPDATE usage SET reserved = reserved + coalesce(json_extract(new.settings, '$.reserved_concurrency'), 0)
        - coalesce(json_extract(old.settings, '$.reserved_concurrency'), 0)
        WHERE account_id = new.account_id AND region = new.region;
END;
CREATE TRIGGER functions_gone AFTER DELETE ON functions BEGIN
    UPDATE usage SET functions = functions - 1,
        code_bytes = code_bytes - coalesce(json_extract(old.latest, '$.code_size_bytes'), 0),
        reserved = reserved - coalesce(json_extract(old.settings, '$.reserved_concurrency'), 0)
        WHERE account_id = old.account_id AND region = old.region;
END;

-- A version's code never changes.
CREATE TRIGGER versions_added AFTER INSERT ON versions BEGIN
    UPDATE usage SET code_bytes = code_bytes + coalesce(json_extract(new.doc, '$.code_size_bytes'), 0)
        WHERE account_id = new.account_id AND region = new.region;
END;
CREATE TRIGGER versions_gone AFTER DELETE ON versions BEGIN
    UPDATE usage SET code_bytes = code_bytes - coalesce(json_extract(old.doc, '$.code_size_bytes'), 0)
        WHERE account_id = old.account_id AND region = old.region;
END;
CREATE TRIGGER layer_versions_added AFTER INSERT ON layer_versions BEGIN
    INSERT INTO usage (account_id, region) VALUES (new.account_id, new.region) ON CONFLICT DO NOTHING;
    UPDATE usage SET code_bytes = code_bytes + coalesce(json_extract(new.doc, '$.code_size_bytes'), 0)
        WHERE account_id = new.account_id AND region = new.region;
END;
CREATE TRIGGER layer_versions_gone AFTER DELETE ON layer_versions BEGIN
    UPDATE usage SET code_bytes = code_bytes - coalesce(json_extract(old.doc, '$.code_size_bytes'), 0)
        WHERE account_id = old.account_id AND region = old.region;
END;
