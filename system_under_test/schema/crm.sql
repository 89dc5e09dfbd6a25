-- crm: its role, its schema, users, leads and deals, and the outbox of what happened to leads and deals.
CREATE ROLE crm LOGIN;
CREATE SCHEMA crm AUTHORIZATION crm;
SET ROLE crm;

CREATE TABLE crm.users (
    id         uuid PRIMARY KEY,
    name       text NOT NULL,
    email      text NOT NULL,
    role       text NOT NULL CHECK (role IN ('agent', 'manager')),
    active     boolean NOT NULL DEFAULT true,
    version    integer NOT NULL DEFAULT 1 CHECK (version > 0),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE UNIQUE INDEX users_email_key ON crm.users (lower(email));
INSERT INTO crm.users (id, name, email, role) VALUES
    ('00000000-0000-4000-8000-00000000a001', 'Agent One', 'agent.one@crm.test', 'agent'),
    ('00000000-0000-4000-8000-00000000a002', 'Agent Two', 'agent.two@crm.test', 'agent'),
    ('00000000-0000-4000-8000-00000000a003', 'Agent Three', 'agent.three@crm.test', 'agent'),
    ('00000000-0000-4000-8000-00000000b001', 'Manager One', 'manager.one@crm.test', 'manager');

CREATE TABLE crm.leads (
    id          uuid PRIMARY KEY,
    external_id text,
    name        text NOT NULL,
    email       text NOT NULL,
    phone       text,
    owner_id    uuid REFERENCES crm.users (id),
    version     integer NOT NULL DEFAULT 1 CHECK (version > 0),
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT leads_external_id_key UNIQUE (external_id)
);
CREATE UNIQUE INDEX leads_email_key ON crm.leads (lower(email));

CREATE TABLE crm.deals (
    id         uuid PRIMARY KEY,
    lead_id    uuid NOT NULL REFERENCES crm.leads (id),
    title      text NOT NULL,
    version    integer NOT NULL DEFAULT 1 CHECK (version > 0),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT deals_lead_id_key UNIQUE (lead_id)
);

CREATE TABLE crm.outbox (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id       uuid NOT NULL UNIQUE,
    event_type     text NOT NULL,
    entity_type    text NOT NULL,
    entity_id      uuid NOT NULL,
    entity_version integer NOT NULL,
    correlation_id uuid NOT NULL,
    causation_id   uuid,
    span_id        text NOT NULL,
    envelope       json NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    sent_at        timestamptz
);
CREATE INDEX outbox_unsent ON crm.outbox (id) WHERE sent_at IS NULL;

RESET ROLE;
