//! Sends the records of the vector files that are named; without any, one usage event.

mod producer;

use base64::{engine::general_purpose::STANDARD, Engine};
use rdkafka::producer::FutureRecord;
use serde_json::{json, Value};

struct Record {
    topic: String,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
}

fn vectors(name: &str) -> Vec<Record> {
    let text = std::fs::read_to_string(name).expect("the vectors");
    let record = |line| {
        let vector: Value = serde_json::from_str(line).expect("a vector");
        let (topic, key) = (vector["topic"].as_str().expect("a topic"), vector["key"].as_str().expect("a key"));
        let value = vector["value_b64"].as_str().map(|text| STANDARD.decode(text).expect("base64"));
        Record { topic: topic.to_string(), key: key.as_bytes().to_vec(), value }
    };
    text.lines().map(record).collect()
}

fn own() -> Record {
    let facts = json!({"provider": "together", "model": "zen-72b", "prompt_tokens": 150, "completion_tokens": 230,
                       "total_tokens": 380});
    let value = producer::usage("team_abc123", "org_hanzo", "0.0038", facts).expect("an event");
    Record { topic: "llm_usage".to_string(), key: b"team_abc123".to_vec(), value: Some(value) }
}

#[tokio::main]
async fn main() {
    let mut records: Vec<Record> = std::env::args().skip(1).flat_map(|name| vectors(&name)).collect();
    if records.is_empty() {
        records.push(own());
    }
    let producer = producer::connect();
    let mut sent = Vec::new();
    for one in &records {
        let mut record = FutureRecord::to(&one.topic).key(&one.key);
        record.payload = one.value.as_ref();
        sent.push(producer.send_result(record).map_err(|(error, _)| error).expect("queued"));
    }
    for one in sent {
        one.await.expect("an answer").map_err(|(error, _)| error).expect("acknowledged");
    }
    println!("{} acknowledged", records.len());
}
