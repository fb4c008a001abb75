-- The base URL that a target's server reports: a clone has the same id. NULL where none was reported yet.
ALTER TABLE target ADD COLUMN base_url TEXT;
