-- Counts of a pair, kept by triggers: reading them takes the same time however large the tables are.
-- tasks: that are no dead letters. missing_links: whose accounts are missing. open_items: held items that wait for a
-- decision. managed_groups: that the pair's source groups feed.
ALTER TABLE pair ADD COLUMN tasks          INTEGER NOT NULL DEFAULT 0;
ALTER TABLE pair ADD COLUMN dead_tasks     INTEGER NOT NULL DEFAULT 0;
ALTER TABLE pair ADD COLUMN missing_links  INTEGER NOT NULL DEFAULT 0;
ALTER TABLE pair ADD COLUMN open_items     INTEGER NOT NULL DEFAULT 0;
ALTER TABLE pair ADD COLUMN managed_groups INTEGER NOT NULL DEFAULT 0;

UPDATE pair SET
    tasks = (SELECT count(*) FROM task WHERE pair = pair.no AND dead = 0),
    dead_tasks = (SELECT count(*) FROM task WHERE pair = pair.no AND dead = 1),
    missing_links = (SELECT count(*) FROM link WHERE link.pair = pair.no AND missing_since IS NOT NULL),
    open_items = (SELECT count(*) FROM held_item i WHERE i.pair = pair.no AND i.state = 'open'),
    managed_groups = (SELECT count(DISTINCT managed) FROM source_group s WHERE s.pair = pair.no);

CREATE TRIGGER task_added AFTER INSERT ON task BEGIN
    UPDATE pair SET tasks = tasks + (NOT new.dead), dead_tasks = dead_tasks + new.dead WHERE no = new.pair;
END;
CREATE TRIGGER task_died_or_revived AFTER UPDATE OF dead ON task WHEN old.dead <> new.dead BEGIN
    UPDATE pair SET tasks = tasks + old.dead - new.dead, dead_tasks = dead_tasks + new.dead - old.dead
        WHERE no = new.pair;
END;
CREATE TRIGGER task_removed AFTER DELETE ON task BEGIN
    UPDATE pair SET tasks = tasks - (NOT old.dead), dead_tasks = dead_tasks - old.dead WHERE no = old.pair;
END;

CREATE TRIGGER link_added_missing AFTER INSERT ON link WHEN new.missing_since IS NOT NULL BEGIN
    UPDATE pair SET missing_links = missing_links + 1 WHERE no = new.pair;
END;
CREATE TRIGGER link_missed_or_found AFTER UPDATE OF missing_since ON link
    WHEN (old.missing_since IS NULL) <> (new.missing_since IS NULL) BEGIN
    UPDATE pair SET missing_links = missing_links + (old.missing_since IS NULL) - (new.missing_since IS NULL)
        WHERE no = new.pair;
END;
CREATE TRIGGER link_removed_missing AFTER DELETE ON link WHEN old.missing_since IS NOT NULL BEGIN
    UPDATE pair SET missing_links = missing_links - 1 WHERE no = old.pair;
END;

CREATE TRIGGER held_item_added AFTER INSERT ON held_item WHEN new.state = 'open' BEGIN
    UPDATE pair SET open_items = open_items + 1 WHERE no = new.pair;
END;
CREATE TRIGGER held_item_changed AFTER UPDATE OF state ON held_item
    WHEN (old.state = 'open') <> (new.state = 'open') BEGIN
    UPDATE pair SET open_items = open_items + (new.state = 'open') - (old.state = 'open') WHERE no = new.pair;
END;
CREATE TRIGGER held_item_removed AFTER DELETE ON held_item WHEN old.state = 'open' BEGIN
    UPDATE pair SET open_items = open_items - 1 WHERE no = old.pair;
END;

-- Several source groups of a pair may feed one managed group, which counts once.
CREATE TRIGGER source_group_added AFTER INSERT ON source_group
    WHEN new.managed IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM source_group WHERE managed = new.managed AND pair = new.pair AND source <> new.source
    ) BEGIN
    UPDATE pair SET managed_groups = managed_groups + 1 WHERE no = new.pair;
END;
CREATE TRIGGER source_group_changed AFTER UPDATE OF managed ON source_group WHEN old.managed IS NOT new.managed BEGIN
    UPDATE pair SET managed_groups = managed_groups
        + (new.managed IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM source_group WHERE managed = new.managed AND pair = new.pair AND source <> new.source))
        - (old.managed IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM source_group WHERE managed = old.managed AND pair = old.pair))
        WHERE no = new.pair;
END;
CREATE TRIGGER source_group_removed AFTER DELETE ON source_group
    WHEN old.managed IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM source_group WHERE managed = old.managed AND pair = old.pair
    ) BEGIN
    UPDATE pair SET managed_groups = managed_groups - 1 WHERE no = old.pair;
END;

-- The age of the oldest task is one step into an index of its own.
DROP INDEX task_due;
CREATE INDEX task_due ON task (pair, priority, not_before) WHERE dead = 0;
CREATE INDEX task_oldest ON task (pair, since) WHERE dead = 0;
