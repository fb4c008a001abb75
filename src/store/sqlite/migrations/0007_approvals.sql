-- The approval that an open intent makes use of: used up once it took effect or was refused for good.
ALTER TABLE intent ADD COLUMN approval INTEGER;

-- A decision stands while what would be done is the same: which operation, on which account.
UPDATE held_item SET fingerprint = key || '@' || coalesce(
    (SELECT k.account FROM link k WHERE k.pair = held_item.pair AND held_item.subject = 'user:' || k.user
        AND held_item.key NOT LIKE 'adopt:%'), '')
    WHERE state IN ('open', 'approved', 'rejected');

CREATE INDEX held_item_standing ON held_item (pair, subject) WHERE state IN ('open', 'approved', 'rejected');
