-- Parts of raises that concern many subjects, a list in JSON each. The writer turns one part after another into tasks,
-- each in a transaction of its own.
CREATE TABLE fan_out (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    pair     INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    cause    TEXT NOT NULL,
    count    INTEGER NOT NULL,
    subjects TEXT NOT NULL
) STRICT;
