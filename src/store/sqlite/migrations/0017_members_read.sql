-- Who was in a group when its members were read whole, beside those whom the pair's links were given it: a later full
-- reconcile that counts as many does not read them again.
CREATE TABLE members_read (
    pair   INTEGER NOT NULL,
    grp    TEXT NOT NULL,
    others TEXT NOT NULL,
    at     INTEGER NOT NULL,
    PRIMARY KEY (pair, grp)
) STRICT, WITHOUT ROWID;
