import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;

/** Sends the records of the vector files that are named; without any, one usage event. */
final class Main {
    public static void main(String[] names) throws Exception {
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (String name : names) {
            for (String line : Files.readAllLines(Path.of(name))) {
                JsonNode vector = new ObjectMapper().readTree(line);
                byte[] key = vector.get("key").asText().getBytes(StandardCharsets.UTF_8);
                records.add(new ProducerRecord<>(vector.get("topic").asText(), key, vector.get("value_b64").binaryValue()));
            }
        }
        if (names.length == 0) {
            records.add(UsageProducer.usage("team_abc123", "org_hanzo", new BigDecimal("0.0038"), Map.of("provider",
                "together", "model", "zen-72b", "prompt_tokens", 150, "completion_tokens", 230, "total_tokens", 380)));
        }
        try (var producer = UsageProducer.connect(System.getenv())) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            records.forEach(record -> sent.add(producer.send(record)));
            for (Future<RecordMetadata> one : sent) {
                one.get();
            }
        }
        System.out.println(records.size() + " acknowledged");
    }
}
