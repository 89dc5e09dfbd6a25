-- The second automation: its role has the same name, for the gauntlet's faults; nothing else has.
CREATE ROLE automation LOGIN;
CREATE SCHEMA flow AUTHORIZATION automation;
SET ROLE automation;

CREATE TABLE flow.rule (
    name      text PRIMARY KEY CHECK (name ~ '^[a-z0-9-]+$'),
    trigger   text NOT NULL,
    when_in   text,
    action    text NOT NULL,
    arguments jsonb NOT NULL DEFAULT '{}',
    active    boolean NOT NULL DEFAULT true
);
INSERT INTO flow.rule (name, trigger, when_in, action, arguments) VALUES
    ('lead-created-assign-user', 'lead.created', NULL, 'assign_user', '{}'),
    ('lead-qualified-create-deal', 'lead.stage.changed', 'qualified', 'create_deal', '{}'),
    ('deal-created-to-proposal', 'deal.created', NULL, 'move_stage', '{"stage": "proposal"}'),
    ('deal-won-notify', 'deal.stage.changed', 'won', 'notify', '{"channel": "webhook"}'),
    ('lead-lost-notify', 'lead.stage.changed', 'lost', 'notify', '{"channel": "mail"}'),
    ('lead-contacted-escalate', 'lead.stage.changed', 'contacted', 'escalate', '{}');

CREATE SEQUENCE flow.turn;

-- A run is ours only if it says done; until then whoever holds the lease works on it.
CREATE TABLE flow.run (
    id          uuid PRIMARY KEY,
    rule        text NOT NULL REFERENCES flow.rule (name),
    kind        text NOT NULL,
    entity      uuid NOT NULL,
    event_id    uuid NOT NULL,
    flow_id     uuid NOT NULL,
    state       text NOT NULL CHECK (state IN ('claimed', 'done', 'broken')),
    holder      text NOT NULL,
    held_until  timestamptz NOT NULL,
    tries       integer NOT NULL DEFAULT 1,
    chosen      uuid,
    error       text,
    UNIQUE (rule, kind, entity)
);

-- delivery_id: by which the one that was the first to finish an event knows itself again.
CREATE TABLE flow.handled (
    event_id    uuid PRIMARY KEY,
    event_type  text NOT NULL,
    flow_id     uuid NOT NULL,
    delivery_id uuid NOT NULL,
    handled_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- ended_by: whoever ended the waiting finds out by it that it was himself, though he was never told.
CREATE TABLE flow.timer (
    id         uuid PRIMARY KEY,
    rule       text NOT NULL REFERENCES flow.rule (name),
    kind       text NOT NULL,
    entity     uuid NOT NULL,
    version    integer NOT NULL,
    event_id   uuid NOT NULL,
    event      text NOT NULL,
    span_id    text NOT NULL,
    due_at     timestamptz NOT NULL,
    state      text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'fired', 'cancelled')),
    ended_by   uuid,
    act_at     timestamptz,
    tries      integer NOT NULL DEFAULT 0,
    replays    integer NOT NULL DEFAULT 0,
    UNIQUE (rule, event_id)
);
CREATE INDEX timer_due ON flow.timer (act_at) WHERE act_at IS NOT NULL;

CREATE TABLE flow.alert (
    id         uuid PRIMARY KEY,
    event_id   uuid,
    flow_id    uuid NOT NULL,
    kind       text,
    entity     uuid,
    span_id    text NOT NULL,
    reason     text NOT NULL,
    raised_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    tries      integer NOT NULL DEFAULT 0,
    act_at     timestamptz DEFAULT clock_timestamp()
);
CREATE INDEX alert_due ON flow.alert (act_at) WHERE act_at IS NOT NULL;

RESET ROLE;
