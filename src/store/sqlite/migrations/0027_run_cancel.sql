-- The operator who ordered the end of a run, and how far a run in progress has come (JSON).
ALTER TABLE run ADD COLUMN cancelled_by TEXT;
ALTER TABLE run ADD COLUMN progress TEXT;
