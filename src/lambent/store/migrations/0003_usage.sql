-- What an account has, summed from an index instead of from every document.
ALTER TABLE functions ADD COLUMN code_bytes INTEGER AS (json_extract(latest, '$.code_size_bytes')) VIRTUAL;
ALTER TABLE functions ADD COLUMN reserved INTEGER AS (json_extract(settings, '$.reserved_concurrency')) VIRTUAL;
ALTER TABLE versions ADD COLUMN code_bytes INTEGER AS (json_extract(doc, '$.code_size_bytes')) VIRTUAL;
ALTER TABLE layer_versions ADD COLUMN code_bytes INTEGER AS (json_extract(doc, '$.code_size_bytes')) VIRTUAL;
CREATE INDEX functions_usage ON functions (account_id, region, code_bytes, reserved);
CREATE INDEX versions_usage ON versions (account_id, region, code_bytes);
CREATE INDEX layer_versions_usage ON layer_versions (account_id, region, code_bytes);
