-- How an adopted account was found, as JSON; NULL: it was created, or linked before this was recorded.
ALTER TABLE link ADD COLUMN matched_by TEXT;
