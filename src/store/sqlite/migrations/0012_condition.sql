-- Since when events of a connector are waited for.
ALTER TABLE connector ADD COLUMN listens_since INTEGER;

-- What is wrong for as long as it is: a refused token, a target that does not answer. Written on change only.
-- connector and target are '' where the condition is not about one.
CREATE TABLE condition (
    connector TEXT NOT NULL,
    target    TEXT NOT NULL,
    code      TEXT NOT NULL,
    text      TEXT NOT NULL,
    since     INTEGER NOT NULL,
    PRIMARY KEY (connector, target, code)
) STRICT, WITHOUT ROWID;
