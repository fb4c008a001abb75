-- What a target cannot do for a subject in its state at the source: told once, not sent again.
CREATE TABLE not_possible (
    pair        INTEGER NOT NULL,
    subject     TEXT NOT NULL,
    key         TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    why         TEXT NOT NULL,
    PRIMARY KEY (pair, subject, key)
) STRICT, WITHOUT ROWID;
