-- automation: its role, its schema, the rules, their executions and timers, which events are done with, and alerts.
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
INSERT INTO automation.rules (id, event_type, to_stage, action, parameters) VALUES
    ('lead-created-assign-user', 'lead.created', NULL, 'assign_user', '{}'),
    ('lead-qualified-create-deal', 'lead.stage.changed', 'qualified', 'create_deal', '{}'),
    ('deal-created-to-proposal', 'deal.created', NULL, 'move_stage', '{"stage": "proposal"}'),
    ('deal-won-notify', 'deal.stage.changed', 'won', 'notify', '{"channel": "webhook"}'),
    ('lead-lost-notify', 'lead.stage.changed', 'lost', 'notify', '{"channel": "mail"}'),
    ('lead-contacted-escalate', 'lead.stage.changed', 'contacted', 'escalate', '{}');

CREATE SEQUENCE automation.turns;

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
    chosen_id        uuid,
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
    delivery_id    uuid NOT NULL,
    processed_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- act_at: when somebody has to look at it next; null when it is done with.
CREATE TABLE automation.timers (
    id               uuid PRIMARY KEY,
    rule_id          text NOT NULL REFERENCES automation.rules (id),
    entity_type      text NOT NULL,
    entity_id        uuid NOT NULL,
    entity_version   integer NOT NULL,
    trigger_event_id uuid NOT NULL,
    envelope         json NOT NULL,
    span_id          text NOT NULL,
    due_at           timestamptz NOT NULL,
    status           text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'fired', 'cancelled')),
    act_at           timestamptz,
    attempts         integer NOT NULL DEFAULT 0,
    replays          integer NOT NULL DEFAULT 0,
    CONSTRAINT timers_once UNIQUE (rule_id, trigger_event_id)
);
CREATE INDEX timers_waiting ON automation.timers (act_at) WHERE act_at IS NOT NULL;
CREATE INDEX timers_pending ON automation.timers (entity_id) WHERE status = 'pending';

-- id: made of the event and its replays, so that a dead letter that is met twice raises one alert.
CREATE TABLE automation.alerts (
    id             uuid PRIMARY KEY,
    event_id       uuid,
    correlation_id uuid NOT NULL,
    entity_type    text,
    entity_id      uuid,
    span_id        text NOT NULL,
    reason         text NOT NULL,
    raised_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts       integer NOT NULL DEFAULT 0,
    act_at         timestamptz DEFAULT clock_timestamp()
);
CREATE INDEX alerts_waiting ON automation.alerts (act_at) WHERE act_at IS NOT NULL;

RESET ROLE;
