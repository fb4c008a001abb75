-- Links of before another server was confirmed, whose accounts were not compared with it yet.
CREATE TABLE unconfirmed_link (
    pair INTEGER NOT NULL,
    user TEXT NOT NULL,
    PRIMARY KEY (pair, user)
) STRICT, WITHOUT ROWID;
