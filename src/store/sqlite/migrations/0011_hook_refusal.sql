-- Requests that the hook refused: one row for each connector and reason, whatever is sent. connector: 0 for addresses
-- that name none.
CREATE TABLE hook_refusal (
    connector INTEGER NOT NULL,
    reason    TEXT NOT NULL,
    count     INTEGER NOT NULL,
    since     INTEGER NOT NULL,
    last      INTEGER NOT NULL,
    PRIMARY KEY (connector, reason)
) STRICT, WITHOUT ROWID;
