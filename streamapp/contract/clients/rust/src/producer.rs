//! A producer of usage events with the standard's settings.

use std::env::var;

use rdkafka::config::ClientConfig;
use rdkafka::producer::FutureProducer;
use serde_json::{json, Number, Value};
use time::{macros::format_description, OffsetDateTime};

pub fn connect() -> FutureProducer {
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

/// Whether this is the text of a JSON number with at most 18 digits before the point and 12 behind it.
fn decimal(text: &str) -> bool {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |of: &str, most| (1..=most).contains(&of.len()) && of.bytes().all(|one| one.is_ascii_digit());
    digits(whole, 18) && digits(part, 12) && (whole == "0" || !whole.starts_with('0'))
}

/// One event: its id is made once, and kept for every attempt to send it. The cost is the text of a number.
pub fn usage(team: &str, org: &str, cost: &str, mut data: Value) -> Result<Vec<u8>, String> {
    if !decimal(cost) {
        return Err(format!("{cost:?} is not a decimal number with at most 12 decimals"));
    }
    data["cost_usd"] = Value::Number(Number::from_string_unchecked(cost.to_string()));
    let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let timestamp = OffsetDateTime::now_utc().format(form).expect("a timestamp");
    let event = json!({"schema": "hanzo.stream.v1", "id": format!("evt_{}", ulid::Ulid::new()), "source": "llm-gateway",
        "type": "llm.usage.completed", "timestamp": timestamp, "team_id": team, "org_id": org, "data": data});
    Ok(event.to_string().into_bytes())
}
