-- When a user was first seen to have left, while its account is still to be changed for that; NULL otherwise.
ALTER TABLE link ADD COLUMN leaving_since INTEGER;
