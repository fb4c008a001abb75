-- Standard terms for tables, columns and stored words.
ALTER TABLE look RENAME TO observation;
ALTER TABLE not_possible RENAME TO unsupported;
ALTER TABLE held_set RENAME TO approval;
ALTER TABLE held_item RENAME TO approval_item;
ALTER TABLE approval_item RENAME COLUMN held_set TO approval;

DROP INDEX held_set_open;
CREATE UNIQUE INDEX approval_open ON approval (pair, kind) WHERE open = 1;
DROP INDEX held_item_set;
CREATE INDEX approval_item_approval ON approval_item (approval, state);
DROP INDEX held_item_subject;
CREATE INDEX approval_item_subject ON approval_item (pair, subject);
DROP INDEX held_item_standing;
CREATE INDEX approval_item_standing ON approval_item (pair, subject) WHERE state IN ('open', 'approved', 'rejected');

UPDATE task SET class = 'unconfirmed' WHERE class = 'doubt';
UPDATE approval SET kind = replace(replace(kind, '"gate"', '"safety_limit"'), '"leave"', '"remove_member"');
UPDATE approval_item SET kind = replace(replace(kind, '"gate"', '"safety_limit"'), '"leave"', '"remove_member"'),
    fingerprint = iif(key LIKE 'join:%', 'add_member:' || substr(fingerprint, 6),
        iif(key LIKE 'leave:%', 'remove_member:' || substr(fingerprint, 7), fingerprint)),
    key = iif(key LIKE 'join:%', 'add_member:' || substr(key, 6),
        iif(key LIKE 'leave:%', 'remove_member:' || substr(key, 7), key));
UPDATE unsupported SET
    key = iif(key LIKE 'join:%', 'add_member:' || substr(key, 6),
        iif(key LIKE 'leave:%', 'remove_member:' || substr(key, 7), key));
UPDATE intent SET limited = 'remove_member' WHERE limited = 'leave';
UPDATE change SET limited = 'remove_member' WHERE limited = 'leave';
UPDATE change SET verb = CASE verb WHEN 'join' THEN 'add_member' ELSE 'remove_member' END WHERE verb IN ('join', 'leave');
ALTER TABLE task RENAME COLUMN settle TO recheck;
UPDATE run SET trigger_word = 'operator' WHERE trigger_word = 'person';
UPDATE asked SET trigger_word = 'operator' WHERE trigger_word = 'person';
