-- Alerts: what each alert of the configuration has announced, and what it has not delivered yet, as JSON.
CREATE TABLE alert (
    name  TEXT PRIMARY KEY,
    state TEXT NOT NULL
) STRICT;
