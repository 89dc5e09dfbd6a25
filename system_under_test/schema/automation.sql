-- automation: its role, its schema, the rules, their executions, and which events are done with.
CREATE ROLE automation LOGIN;
CREATE SCHEMA automation AUTHORIZATION automation;
SET ROLE automation;

CREATE TABLE automation.rules (
    id         text PRIMARY KEY CHECK (id ~ '^[a-z0-9-]+$'),
    event_type text NOT NULL,
    to_stage   text,
    action     text NOT NULL,
    parameters jsonb NOT NULL DEFAULT '{}',
    enabled    boolean NOT NULL DEFAULT true
);
INSERT INTO automation.rules (id, event_type, to_stage, action)
VALUES ('lead-qualified-create-deal', 'lead.stage.changed', 'qualified', 'create_deal');

CREATE TABLE automation.automation_executions (
    id               uuid PRIMARY KEY,
    rule_id          text NOT NULL REFERENCES automation.rules (id),
    entity_type      text NOT NULL,
    entity_id        uuid NOT NULL,
    trigger_event_id uuid NOT NULL,
    status           text NOT NULL CHECK (status IN ('started', 'succeeded', 'failed')),
    lease_owner      text NOT NULL,
    lease_expires_at timestamptz NOT NULL,
    attempts         integer NOT NULL CHECK (attempts > 0),
    result           jsonb,
    last_error       text,
    correlation_id   uuid NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT automation_executions_once UNIQUE (rule_id, entity_type, entity_id)
);

CREATE TABLE automation.processed_events (
    event_id       uuid PRIMARY KEY,
    event_type     text NOT NULL,
    correlation_id uuid NOT NULL,
    processed_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);

RESET ROLE;
