-- Who was given which group, by the numbers of both; link.given says the same in a compact form for each link.
CREATE TABLE membership (
    grp  INTEGER NOT NULL,
    link INTEGER NOT NULL,
    PRIMARY KEY (grp, link)
) STRICT, WITHOUT ROWID;

-- Unpacks what is there: distances of seven bits a byte, the lowest first; a high bit says that more follows.
CREATE TABLE hex_byte (hex TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
WITH RECURSIVE byte (value) AS (VALUES (0) UNION ALL SELECT value + 1 FROM byte WHERE value < 255)
INSERT INTO hex_byte SELECT printf('%02X', value), value FROM byte;
WITH RECURSIVE walk (link, given, at, shift, distance, number, ends) AS (
    SELECT id, hex(given), 1, 0, 0, 0, 0 FROM link WHERE given_count > 0
    UNION ALL
    SELECT w.link, w.given, w.at + 2, iif(b.value < 128, 0, w.shift + 7),
        iif(b.value < 128, 0, w.distance + ((b.value & 127) << w.shift)),
        iif(b.value < 128, w.number + w.distance + ((b.value & 127) << w.shift), w.number),
        b.value < 128
    FROM walk w CROSS JOIN hex_byte b ON b.hex = substr(w.given, w.at, 2)
)
INSERT INTO membership (grp, link) SELECT number, link FROM walk WHERE ends ORDER BY number, link;
DROP TABLE hex_byte;

-- The age of the oldest task is read from the index, too.
DROP INDEX task_due;
CREATE INDEX task_due ON task (pair, priority, not_before, since) WHERE dead = 0;
