-- Event polling: one row for each connector whose events were polled. state: how far the logs were read, as JSON.
-- events: those that were new when they were polled. last_event: when the last of them was stored.
CREATE TABLE event_poll (
    connector  INTEGER PRIMARY KEY REFERENCES connector,
    state      TEXT NOT NULL DEFAULT '{}',
    events     INTEGER NOT NULL DEFAULT 0,
    last_event INTEGER
) STRICT;

-- Whether an event was polled, and no sender pushed it.
ALTER TABLE event ADD COLUMN polled INTEGER NOT NULL DEFAULT 0;
