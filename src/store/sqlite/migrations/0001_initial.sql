-- Times are milliseconds since 1970; names of connectors, targets, pairs and target groups are numbers here.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Counts openings of the store; looks and tokens begin with it, so that none is given twice.
INSERT INTO meta VALUES ('opened', 0);

-- hook: how its senders sign (references to secrets, never secrets), so that they are told to stop once it is removed.
CREATE TABLE connector (
    no              INTEGER PRIMARY KEY,
    name            TEXT NOT NULL UNIQUE,
    hook            TEXT,
    issuer          TEXT,
    service_account TEXT,
    paused          INTEGER NOT NULL DEFAULT 0,
    events          INTEGER NOT NULL DEFAULT 0,
    duplicates      INTEGER NOT NULL DEFAULT 0,
    last_event      INTEGER
) STRICT;

CREATE TABLE target (
    no       INTEGER PRIMARY KEY,
    name     TEXT NOT NULL UNIQUE,
    identity TEXT
) STRICT;

-- links, active_links and memberships are kept by the triggers on link.
CREATE TABLE pair (
    no           INTEGER PRIMARY KEY,
    connector    INTEGER NOT NULL REFERENCES connector,
    target       INTEGER NOT NULL REFERENCES target,
    state        TEXT NOT NULL DEFAULT 'new',
    since        INTEGER NOT NULL DEFAULT 0,
    links        INTEGER NOT NULL DEFAULT 0,
    active_links INTEGER NOT NULL DEFAULT 0,
    memberships  INTEGER NOT NULL DEFAULT 0,
    UNIQUE (target, connector)
) STRICT;

-- id: a UUID as its 16 bytes, anything else as text. ignored: why it asks for nothing.
CREATE TABLE event (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    connector   INTEGER NOT NULL,
    id          ANY NOT NULL,
    received_at INTEGER NOT NULL,
    occurred_at INTEGER,
    duplicates  INTEGER NOT NULL DEFAULT 0,
    kind        TEXT NOT NULL,
    about       TEXT NOT NULL,
    hints       TEXT NOT NULL,
    ignored     TEXT,
    body        TEXT NOT NULL
) STRICT;
-- By time first: ids are random, and each would dirty a page of its own in an index by id. What is sent or pulled again
-- has its time unchanged.
CREATE UNIQUE INDEX event_once ON event (connector, coalesce(occurred_at, 0), id);

-- blocked_by: the subject that it waits for. last_*: the newest raise, which becomes the cause if it came during work.
CREATE TABLE task (
    pair       INTEGER NOT NULL,
    subject    TEXT NOT NULL,
    generation INTEGER NOT NULL DEFAULT 1,
    priority   INTEGER NOT NULL,
    not_before INTEGER NOT NULL,
    dead       INTEGER NOT NULL DEFAULT 0,
    settle     INTEGER NOT NULL DEFAULT 0,
    blocked_by TEXT,
    since      INTEGER NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0,
    class      TEXT,
    error      TEXT,
    cause      TEXT NOT NULL,
    caused_at  INTEGER NOT NULL,
    last_cause TEXT NOT NULL,
    last_at    INTEGER NOT NULL,
    PRIMARY KEY (pair, subject)
) STRICT, WITHOUT ROWID;
CREATE INDEX task_due ON task (pair, priority, not_before) WHERE dead = 0;
CREATE INDEX task_dead ON task (pair) WHERE dead = 1;
CREATE INDEX task_blocked ON task (pair, blocked_by) WHERE blocked_by IS NOT NULL;

-- The number taken when the newest work on a subject ended.
CREATE TABLE look (
    pair    INTEGER NOT NULL,
    subject TEXT NOT NULL,
    number  INTEGER NOT NULL,
    PRIMARY KEY (pair, subject)
) STRICT, WITHOUT ROWID;

-- folded: the login in lower case. given: numbers of target groups, see codec. given_count: how many.
CREATE TABLE link (
    id          INTEGER PRIMARY KEY,
    pair        INTEGER NOT NULL,
    target      INTEGER NOT NULL,
    user        TEXT NOT NULL,
    account     TEXT NOT NULL,
    name        TEXT NOT NULL,
    folded      TEXT NOT NULL,
    federation  TEXT,
    seen_alive  INTEGER,
    written     TEXT NOT NULL,
    deactivated INTEGER NOT NULL,
    adopted     INTEGER NOT NULL,
    given       BLOB NOT NULL,
    given_count INTEGER NOT NULL,
    UNIQUE (user, pair),
    UNIQUE (target, account)
) STRICT;
CREATE INDEX link_alive ON link (pair, seen_alive);
CREATE INDEX link_folded ON link (folded);

CREATE TRIGGER link_added AFTER INSERT ON link BEGIN
    UPDATE pair SET links = links + 1, active_links = active_links + (NOT new.deactivated),
        memberships = memberships + new.given_count WHERE no = new.pair;
END;
CREATE TRIGGER link_changed AFTER UPDATE OF deactivated, given_count ON link
    WHEN old.deactivated <> new.deactivated OR old.given_count <> new.given_count BEGIN
    UPDATE pair SET active_links = active_links + old.deactivated - new.deactivated,
        memberships = memberships + new.given_count - old.given_count WHERE no = new.pair;
END;
CREATE TRIGGER link_removed AFTER DELETE ON link BEGIN
    UPDATE pair SET links = links - 1, active_links = active_links - (NOT old.deactivated),
        memberships = memberships - old.given_count WHERE no = old.pair;
END;

-- The numbers of a target's groups; outlive the groups.
CREATE TABLE target_group (
    no     INTEGER PRIMARY KEY AUTOINCREMENT,
    target INTEGER NOT NULL,
    id     TEXT NOT NULL,
    UNIQUE (target, id)
) STRICT;

CREATE TABLE managed_group (
    no                INTEGER PRIMARY KEY REFERENCES target_group,
    target            INTEGER NOT NULL,
    name              TEXT NOT NULL,
    adopted           INTEGER NOT NULL,
    removals_approved INTEGER NOT NULL
) STRICT;
CREATE INDEX managed_group_target ON managed_group (target);

-- managed: what it feeds; why: why it feeds none.
CREATE TABLE source_group (
    pair    INTEGER NOT NULL,
    source  TEXT NOT NULL,
    name    TEXT NOT NULL,
    managed INTEGER REFERENCES managed_group,
    why     TEXT,
    PRIMARY KEY (pair, source)
) STRICT, WITHOUT ROWID;
CREATE INDEX source_group_managed ON source_group (managed) WHERE managed IS NOT NULL;

-- object: `account:ID` or `group:ID` where that exists already; made: the folded name that a create brings into being.
CREATE TABLE intent (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    pair          INTEGER NOT NULL,
    target        INTEGER NOT NULL,
    subject       TEXT NOT NULL,
    object        TEXT,
    made          TEXT,
    operation     TEXT NOT NULL,
    before        TEXT NOT NULL,
    limited       TEXT,
    approved      INTEGER NOT NULL,
    cause         TEXT NOT NULL,
    caused_at     INTEGER,
    arrives_until INTEGER NOT NULL
) STRICT;
CREATE INDEX intent_subject ON intent (pair, subject);
CREATE INDEX intent_object ON intent (target, object) WHERE object IS NOT NULL;
CREATE INDEX intent_made ON intent (target, made) WHERE made IS NOT NULL;

-- counts: whether the safety gate counts it.
CREATE TABLE change (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    at        INTEGER NOT NULL,
    pair      INTEGER NOT NULL,
    subject   TEXT NOT NULL,
    verb      TEXT NOT NULL,
    name      TEXT NOT NULL,
    before    TEXT NOT NULL,
    after     TEXT NOT NULL,
    limited   TEXT,
    approved  INTEGER NOT NULL,
    counts    INTEGER NOT NULL,
    cause     TEXT NOT NULL,
    caused_at INTEGER,
    run       INTEGER,
    outcome   TEXT NOT NULL
) STRICT;
CREATE INDEX change_pair ON change (pair);
CREATE INDEX change_subject ON change (subject);
CREATE INDEX change_name ON change (name);
CREATE INDEX change_run ON change (run) WHERE run IS NOT NULL;
CREATE INDEX change_gate ON change (pair, limited, at) WHERE counts = 1;

CREATE TABLE run (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    pair         INTEGER NOT NULL,
    trigger_word TEXT NOT NULL,
    mode         TEXT NOT NULL,
    started_at   INTEGER NOT NULL,
    ended_at     INTEGER,
    outcome      TEXT NOT NULL,
    report       TEXT NOT NULL
) STRICT;
CREATE INDEX run_pair ON run (pair);
CREATE INDEX run_open ON run (id) WHERE ended_at IS NULL;

CREATE TABLE held_set (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    pair     INTEGER NOT NULL,
    kind     TEXT NOT NULL,
    since    INTEGER NOT NULL,
    open     INTEGER NOT NULL DEFAULT 1,
    summary  TEXT NOT NULL DEFAULT 'null',
    decision TEXT
) STRICT;
CREATE UNIQUE INDEX held_set_open ON held_set (pair, kind) WHERE open = 1;

CREATE TABLE held_item (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    held_set    INTEGER NOT NULL REFERENCES held_set,
    pair        INTEGER NOT NULL,
    subject     TEXT NOT NULL,
    kind        TEXT NOT NULL,
    what        TEXT NOT NULL,
    key         TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    state       TEXT NOT NULL DEFAULT 'open',
    since       INTEGER NOT NULL
) STRICT;
CREATE INDEX held_item_set ON held_item (held_set, state);
CREATE INDEX held_item_subject ON held_item (pair, subject);

CREATE TABLE request (
    id  INTEGER PRIMARY KEY AUTOINCREMENT,
    ask TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE audit (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    at       INTEGER NOT NULL,
    by_whom  TEXT NOT NULL,
    what     TEXT NOT NULL
) STRICT;
