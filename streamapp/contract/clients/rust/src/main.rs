//! A producer of usage events with the standard's settings; sends one.

use std::env::var;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::{json, Number, Value};
use time::{macros::format_description, OffsetDateTime};

fn connect() -> FutureProducer {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", var("KAFKA_BOOTSTRAP").expect("KAFKA_BOOTSTRAP"))
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("max.in.flight.requests.per.connection", "5")
        .set("compression.type", "lz4")
        .set("batch.size", "16384")
        .set("linger.ms", "5")
        .set("retry.backoff.ms", "100")
        .set("delivery.timeout.ms", "30000")
        .set("partitioner", "murmur2_random"); // as Java's client; librdkafka's own default differs
    if let Ok(user) = var("KAFKA_USER") {
        let file = var("KAFKA_PASSWORD_FILE").expect("KAFKA_PASSWORD_FILE");
        config
            .set("security.protocol", "SASL_SSL")
            .set("ssl.ca.location", var("KAFKA_CA_FILE").expect("KAFKA_CA_FILE"))
            .set("sasl.mechanism", "PLAIN")
            .set("sasl.username", user)
            .set("sasl.password", std::fs::read_to_string(file).expect("the password file").trim());
    }
    config.create().expect("the client")
}

/// One event: its id is made once, and kept for every attempt to send it. The cost keeps its digits.
fn usage(team: &str, org: &str, cost: Number, mut data: Value) -> Vec<u8> {
    data["cost_usd"] = Value::Number(cost);
    let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let timestamp = OffsetDateTime::now_utc().format(form).expect("a timestamp");
    json!({"schema": "hanzo.stream.v1", "id": format!("evt_{}", ulid::Ulid::new()), "type": "llm.usage.completed",
           "source": "llm-gateway", "timestamp": timestamp, "team_id": team, "org_id": org, "data": data})
    .to_string()
    .into_bytes()
}

#[tokio::main]
async fn main() {
    let cost = Number::from_string_unchecked("0.0038".to_string());
    let value = usage("team_abc123", "org_hanzo", cost, json!({"provider": "together", "model": "zen-72b",
        "prompt_tokens": 150, "completion_tokens": 230, "total_tokens": 380}));
    let record = FutureRecord::to("llm_usage").key("team_abc123").payload(&value);
    connect().send(record, Duration::from_secs(30)).await.expect("acknowledged");
    println!("1 acknowledged");
}
