\set lead random(:first_lead, :last_lead)
BEGIN;
SELECT stage, version, CASE stage WHEN 'contacted' THEN 'engaged' ELSE 'contacted' END AS next, gen_random_uuid() AS event, gen_random_uuid() AS flow FROM pipeline.stages WHERE entity_type = 'lead' AND entity_id = ('00000000-0000-4000-8000-' || :lead)::uuid FOR UPDATE \gset
UPDATE pipeline.stages SET stage = :next, version = :version + 1, updated_at = clock_timestamp() WHERE entity_type = 'lead' AND entity_id = ('00000000-0000-4000-8000-' || :lead)::uuid;
INSERT INTO pipeline.stage_history (entity_type, entity_id, version, from_stage, to_stage, source, correlation_id, causation_id) VALUES ('lead', ('00000000-0000-4000-8000-' || :lead)::uuid, :version + 1, :stage, :next, 'manual', :flow, NULL) RETURNING changed_at;
INSERT INTO pipeline.outbox (event_id, event_type, entity_type, entity_id, entity_version, correlation_id, causation_id, span_id, envelope) VALUES (:event, 'lead.stage.changed', 'lead', ('00000000-0000-4000-8000-' || :lead)::uuid, :version + 1, :flow, NULL, '0123456789abcdef', '{"event_id":"00000000-0000-4000-8000-000000000000","event_type":"lead.stage.changed","schema_version": 1,"occurred_at":"2026-01-01T00:00:00.000000Z","correlation_id":"00000000-0000-4000-8000-000000000000","causation_id": null,"entity_type":"lead","entity_id":"00000000-0000-4000-8000-000000000000","entity_version": 1,"source":"pipeline","hop_count": 0,"payload":{"from_stage":"contacted","to_stage":"engaged","source":"manual"}}');
SELECT pg_notify('pipeline_outbox', ''), pg_current_xact_id()::text AS transaction_id;
COMMIT;
