-- Runs that were asked for, each pair's for itself. run: the one that began for it and has not ended.
CREATE TABLE asked (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    pair         INTEGER NOT NULL,
    trigger_word TEXT NOT NULL,
    run          INTEGER
) STRICT;
CREATE UNIQUE INDEX asked_once ON asked (pair, trigger_word) WHERE run IS NULL;
CREATE INDEX asked_run ON asked (run) WHERE run IS NOT NULL;

INSERT OR IGNORE INTO asked (pair, trigger_word)
    SELECT p.no, r.ask ->> '$.trigger' FROM request r
    JOIN connector c ON c.name = r.ask ->> '$.connector'
    JOIN pair p ON p.connector = c.no
    JOIN target t ON t.no = p.target
    WHERE t.name = coalesce(r.ask ->> '$.target', t.name)
    ORDER BY r.id, p.no;
DROP TABLE request;
