-- What deactivating took away and activating gives back, a list in JSON; NULL for nothing.
ALTER TABLE link ADD COLUMN taken TEXT;
