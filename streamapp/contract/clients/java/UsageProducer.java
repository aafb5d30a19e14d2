import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.HashMap;
import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** A producer of usage events with the standard's settings. Java's client places keys with murmur2 by itself. */
final class UsageProducer {
    private static final ObjectMapper JSON = new ObjectMapper().enable(JsonGenerator.Feature.WRITE_BIGDECIMAL_AS_PLAIN);
    private static final SecureRandom RANDOM = new SecureRandom();

    static KafkaProducer<byte[], byte[]> connect(Map<String, String> env) throws IOException {
        Map<String, Object> config = new HashMap<>(Map.of("bootstrap.servers", env.get("KAFKA_BOOTSTRAP"),
            "acks", "all", "enable.idempotence", true, "max.in.flight.requests.per.connection", 5,
            "compression.type", "lz4", "batch.size", 16384, "linger.ms", 5, "retry.backoff.ms", 100,
            "request.timeout.ms", 10000, "delivery.timeout.ms", 30000)); // retries until then
        if (env.containsKey("KAFKA_USER")) {
            String password = Files.readString(Path.of(env.get("KAFKA_PASSWORD_FILE"))).strip();
            config.putAll(Map.of("security.protocol", "SASL_SSL", "ssl.enabled.protocols", "TLSv1.3",
                "ssl.truststore.type", "PEM", "ssl.truststore.location", env.get("KAFKA_CA_FILE"),
                "sasl.mechanism", "PLAIN", "sasl.jaas.config", String.format(
                    "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"%s\" password=\"%s\";",
                    env.get("KAFKA_USER"), password)));
        }
        return new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
    }

    /** One event: its id is made once, and kept for every attempt to send it. The cost keeps its digits. */
    static ProducerRecord<byte[], byte[]> usage(String team, String org, BigDecimal cost, Map<String, Object> facts)
            throws JsonProcessingException {
        Map<String, Object> data = new HashMap<>(facts);
        data.put("cost_usd", cost);
        byte[] value = JSON.writeValueAsBytes(Map.of("schema", "hanzo.stream.v1", "id", "evt_" + ulid(),
            "type", "llm.usage.completed", "source", "llm-gateway", "team_id", team, "org_id", org,
            "timestamp", Instant.now().truncatedTo(ChronoUnit.MILLIS).toString(), "data", data));
        return new ProducerRecord<>("llm_usage", team.getBytes(StandardCharsets.UTF_8), value);
    }

    /** 48 bits of milliseconds and 80 random bits in Crockford's base 32. */
    private static String ulid() {
        BigInteger bits = BigInteger.valueOf(System.currentTimeMillis()).shiftLeft(80).or(new BigInteger(80, RANDOM));
        StringBuilder text = new StringBuilder();
        String.format("%26s", bits.toString(32)).chars().forEach(
            letter -> text.append("0123456789ABCDEFGHJKMNPQRSTVWXYZ".charAt(Math.max(Character.digit(letter, 32), 0))));
        return text.toString();
    }
}
