-- pipeline: its role, its schema, the stage of each lead and deal, its history, and the outbox.
CREATE ROLE pipeline LOGIN;
CREATE SCHEMA pipeline AUTHORIZATION pipeline;
SET ROLE pipeline;

CREATE TABLE pipeline.stages (
    entity_type text NOT NULL CHECK (entity_type IN ('lead', 'deal')),
    entity_id   uuid NOT NULL,
    stage       text NOT NULL,
    version     integer NOT NULL CHECK (version >= 0),
    updated_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (entity_type, entity_id)
);

CREATE TABLE pipeline.stage_history (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    entity_type    text NOT NULL,
    entity_id      uuid NOT NULL,
    version        integer NOT NULL CHECK (version > 0),
    from_stage     text NOT NULL,
    to_stage       text NOT NULL,
    source         text NOT NULL CHECK (source IN ('manual', 'system', 'automation')),
    correlation_id uuid NOT NULL,
    causation_id   uuid,
    changed_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT stage_history_version_key UNIQUE (entity_type, entity_id, version),
    CONSTRAINT stage_history_entity_fkey FOREIGN KEY (entity_type, entity_id)
        REFERENCES pipeline.stages (entity_type, entity_id),
    CONSTRAINT stage_history_moves CHECK (from_stage <> to_stage)
);

CREATE TABLE pipeline.outbox (
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
CREATE INDEX outbox_unsent ON pipeline.outbox (id) WHERE sent_at IS NULL;

RESET ROLE;
