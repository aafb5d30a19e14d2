/* Written by `python -m streamapp.lane.events` from the models in streamapp/schemas/; never by hand. A macro
 * for each object: FIELD(IN, name, kind, is required, least and greatest length, words, default). */
#ifndef EVENTS_H
#define EVENTS_H

#define LLM_USAGE(FIELD, IN) \
    FIELD(IN, schema, CHOICE, 1, 0, 0, WORDS("hanzo.stream.v1"), 0) \
    FIELD(IN, id, ID, 1, 1, 128, NULL, {0}) \
    FIELD(IN, type, CHOICE, 1, 0, 0, WORDS("llm.usage.completed"), 0) \
    FIELD(IN, source, TEXT, 1, 1, 256, NULL, {0}) \
    FIELD(IN, timestamp, TIMESTAMP, 1, 0, 0, NULL, 0) \
    FIELD(IN, team_id, TEXT, 1, 1, 256, NULL, {0}) \
    FIELD(IN, org_id, TEXT, 0, 1, 256, NULL, {0})

#define LLM_USAGE_DATA(FIELD, IN) \
    FIELD(IN, request_id, TEXT, 0, 0, 256, NULL, {0}) \
    FIELD(IN, model, TEXT, 1, 1, 256, NULL, {0}) \
    FIELD(IN, provider, TEXT, 1, 1, 256, NULL, {0}) \
    FIELD(IN, prompt_tokens, COUNT, 1, 0, 0, NULL, 0) \
    FIELD(IN, completion_tokens, COUNT, 1, 0, 0, NULL, 0) \
    FIELD(IN, total_tokens, COUNT, 1, 0, 0, NULL, 0) \
    FIELD(IN, latency_ms, MEASURE, 0, 0, 0, NULL, UNMEASURED) \
    FIELD(IN, cost_usd, COST, 1, 0, 0, NULL, {0}) \
    FIELD(IN, user_id, TEXT, 0, 0, 256, NULL, {0}) \
    FIELD(IN, api_key_hash, TEXT, 0, 0, 256, NULL, {0}) \
    FIELD(IN, cache_hit, FLAG, 0, 0, 0, NULL, 0) \
    FIELD(IN, stream, FLAG, 0, 0, 0, NULL, -1) \
    FIELD(IN, status, TEXT, 0, 0, 64, NULL, TEXT_OF("success")) \
    FIELD(IN, currency, CURRENCY, 0, 1, 16, NULL, TEXT_OF("USD")) \
    FIELD(IN, ttft_ms, MEASURE, 0, 0, 0, NULL, UNMEASURED) \
    FIELD(IN, cache_read_tokens, COUNT, 0, 0, 0, NULL, 0) \
    FIELD(IN, cache_write_tokens, COUNT, 0, 0, 0, NULL, 0) \
    FIELD(IN, project_id, TEXT, 0, 0, 256, NULL, {0})

#define RPC_METERED(FIELD, IN) \
    FIELD(IN, schema, CHOICE, 1, 0, 0, WORDS("hanzo.stream.v1"), 0) \
    FIELD(IN, id, ID, 1, 1, 128, NULL, {0}) \
    FIELD(IN, type, CHOICE, 1, 0, 0, WORDS("agent.rpc.metered"), 0) \
    FIELD(IN, source, TEXT, 1, 1, 256, NULL, {0}) \
    FIELD(IN, timestamp, TIMESTAMP, 1, 0, 0, NULL, 0) \
    FIELD(IN, team_id, TEXT, 0, 1, 256, NULL, {0}) \
    FIELD(IN, org_id, TEXT, 0, 1, 256, NULL, {0})

#define RPC_METERED_DATA(FIELD, IN) \
    FIELD(IN, agent_id, TEXT, 1, 1, 256, NULL, {0}) \
    FIELD(IN, consumer_id, TEXT, 1, 1, 256, NULL, {0}) \
    FIELD(IN, method, TEXT, 1, 1, 256, NULL, {0}) \
    FIELD(IN, request_id, TEXT, 0, 0, 256, NULL, {0}) \
    FIELD(IN, unit, CHOICE, 0, 0, 0, WORDS("per_request", "per_token"), 0) \
    FIELD(IN, quantity, COUNT, 1, 0, 0, NULL, 0) \
    FIELD(IN, price, PRICE, 1, 0, 0, NULL, {0}) \
    FIELD(IN, currency, TOKEN, 1, 1, 16, NULL, {0}) \
    FIELD(IN, status, CHOICE, 0, 0, 0, WORDS("success", "error"), 0) \
    FIELD(IN, free_tier, FLAG, 0, 0, 0, NULL, 0) \
    FIELD(IN, latency_ms, MEASURE, 0, 0, 0, NULL, UNMEASURED) \
    FIELD(IN, model, TEXT, 0, 0, 256, NULL, {0}) \
    FIELD(IN, prompt_tokens, COUNT, 0, 0, 0, NULL, 0) \
    FIELD(IN, completion_tokens, COUNT, 0, 0, 0, NULL, 0) \
    FIELD(IN, chain, TEXT, 0, 1, 256, NULL, TEXT_OF("hanzo")) \
    FIELD(IN, chain_id, COUNT, 0, 0, 0, NULL, 36963) \
    FIELD(IN, agent_wallet, TEXT, 0, 0, 256, NULL, {0}) \
    FIELD(IN, consumer_wallet, TEXT, 0, 0, 256, NULL, {0})

#define EVENT_CAPTURED(FIELD, IN) \
    FIELD(IN, schema, CHOICE, 1, 0, 0, WORDS("hanzo.stream.v1"), 0) \
    FIELD(IN, id, ID, 1, 1, 128, NULL, {0}) \
    FIELD(IN, type, CHOICE, 1, 0, 0, WORDS("insights.event.captured"), 0) \
    FIELD(IN, source, TEXT, 1, 1, 256, NULL, {0}) \
    FIELD(IN, timestamp, TIMESTAMP, 1, 0, 0, NULL, 0) \
    FIELD(IN, team_id, TEXT, 1, 1, 256, NULL, {0}) \
    FIELD(IN, org_id, TEXT, 0, 1, 256, NULL, {0})

#define EVENT_CAPTURED_DATA(FIELD, IN) \
    FIELD(IN, event, TEXT, 1, 1, 200, NULL, {0}) \
    FIELD(IN, distinct_id, TEXT, 1, 1, 200, NULL, {0}) \
    FIELD(IN, properties, OBJECT, 1, 0, 0, NULL, {0}) \
    FIELD(IN, ip, TEXT, 0, 0, 256, NULL, {0}) \
    FIELD(IN, session_id, TEXT, 0, 1, 200, NULL, {0}) \
    FIELD(IN, sent_at, TIMESTAMP, 0, 0, 0, NULL, 0) \
    FIELD(IN, uuid, UUID, 0, 0, 0, NULL, {0})

#define TEXT_MAX 256 /* the longest of these */

#endif
