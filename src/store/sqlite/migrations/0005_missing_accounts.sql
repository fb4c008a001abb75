-- When the account was first missed at the target; NULL while it is there.
ALTER TABLE link ADD COLUMN missing_since INTEGER;
CREATE INDEX link_missing ON link (pair) WHERE missing_since IS NOT NULL;

-- Links that were dropped because their accounts were gone, as they were, in JSON: for an account that comes back.
CREATE TABLE dropped_link (
    pair    INTEGER NOT NULL,
    target  INTEGER NOT NULL,
    account TEXT NOT NULL,
    user    TEXT NOT NULL,
    at      INTEGER NOT NULL,
    link    TEXT NOT NULL,
    PRIMARY KEY (pair, account)
) STRICT, WITHOUT ROWID;
CREATE INDEX dropped_link_user ON dropped_link (pair, user);
CREATE INDEX dropped_link_account ON dropped_link (target, account);
