-- The first that a subscription is owed is waited for in memory: no clock says when, and nothing behind it can come first.
DROP INDEX owed_in_time;
ALTER TABLE owed DROP COLUMN due_ms;
