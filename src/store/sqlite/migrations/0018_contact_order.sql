-- When a side that is not well is tried again.
ALTER TABLE condition ADD COLUMN again_at INTEGER;

-- Sides that operators ordered to be contacted at once, each with its newest order. connector or target is ''.
-- why: what the side answered; NULL where it is well, or ended is 0.
CREATE TABLE contact_order (
    connector TEXT NOT NULL,
    target    TEXT NOT NULL,
    by_whom   TEXT NOT NULL,
    at        INTEGER NOT NULL,
    ended     INTEGER NOT NULL DEFAULT 0,
    why       TEXT,
    PRIMARY KEY (connector, target)
) STRICT, WITHOUT ROWID;
