-- Where a pair stood before it was stopped for its target; NULL: it is not stopped, or it is stopped for its source.
ALTER TABLE pair ADD COLUMN stopped_from TEXT;
-- What an older version stopped is planned anew before it goes on: it did not record why.
UPDATE pair SET stopped_from = 'new' WHERE state = 'stopped';
