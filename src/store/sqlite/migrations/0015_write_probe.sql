-- One row that is rewritten to find out whether there is room for a commit.
CREATE TABLE write_probe (
    no   INTEGER PRIMARY KEY CHECK (no = 1),
    data BLOB NOT NULL
) STRICT;
