-- What an operator ordered about a user's link. account: to be linked; NULL: the link is to be removed. why: it was
-- refused. unlinked: the account whose link was removed by an order, which is not adopted again without an approval.
CREATE TABLE link_order (
    pair     INTEGER NOT NULL,
    user     TEXT NOT NULL,
    account  TEXT,
    by_whom  TEXT NOT NULL,
    at       INTEGER NOT NULL,
    ended    INTEGER NOT NULL DEFAULT 0,
    why      TEXT,
    unlinked TEXT,
    PRIMARY KEY (pair, user)
) STRICT, WITHOUT ROWID;
