-- Priorities: 0 removal, 1 event, 2 retry, 3 bulk, 4 fan-out, 5 run; until now 0 event, 1 retry, 2 fan-out, 3 run.
UPDATE task SET priority = CASE priority WHEN 0 THEN 1 WHEN 1 THEN 2 WHEN 2 THEN 4 ELSE 5 END;
