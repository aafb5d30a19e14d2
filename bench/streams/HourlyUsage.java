import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;

/** Hourly usage per org, team and currency. The topic's key is the team, so nothing has to be repartitioned. */
public final class HourlyUsage {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final ObjectReader READER = JSON.readerFor(Usage.class);

    @JsonIgnoreProperties(ignoreUnknown = true)
    public static final class Data {
        public long total_tokens;
        public double cost_usd;
        public String currency = "USD";
    }

    @JsonIgnoreProperties(ignoreUnknown = true)
    public static final class Usage {
        public String org_id;
        public String team_id;
        public Data data;
    }

    public static final class Totals {
        public long events;
        public long tokens;
        public long pico;
    }

    public static final class Hour {
        public Map<String, Totals> totals = new LinkedHashMap<>();

        Hour add(Usage usage) {
            String place = usage.org_id + "|" + usage.team_id + "|" + usage.data.currency;
            Totals row = totals.computeIfAbsent(place, any -> new Totals());
            row.events += 1;
            row.tokens += usage.data.total_tokens;
            row.pico += Math.round(usage.data.cost_usd * 1e12);
            return this;
        }
    }

    private static Serde<Usage> usage() {
        return Serdes.serdeFrom((topic, value) -> write(value), (topic, bytes) -> {
            try {
                return bytes == null ? null : READER.readValue(bytes);
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        });
    }

    private static Serde<Hour> hour() {
        ObjectReader reader = JSON.readerFor(Hour.class);
        return Serdes.serdeFrom((topic, value) -> value == null ? null : write(value), (topic, bytes) -> {
            try {
                return bytes == null ? null : reader.readValue(bytes);
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        });
    }

    private static byte[] write(Object value) {
        try {
            return JSON.writeValueAsBytes(value);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    public static void main(String[] args) {
        Properties config = new Properties();
        config.put(StreamsConfig.APPLICATION_ID_CONFIG, "streams-hourly");
        config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
        config.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, args[1]);
        config.put(StreamsConfig.STATE_DIR_CONFIG, args[2]);
        config.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
        config.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, Integer.getInteger("commit.ms", 100));
        config.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 64L << 20);
        config.put(StreamsConfig.TOPOLOGY_OPTIMIZATION_CONFIG, StreamsConfig.OPTIMIZE);
        config.put("consumer.auto.offset.reset", "earliest");
        config.put("consumer.max.poll.records", 5000);
        config.put("producer.compression.type", "lz4");
        config.put("producer.linger.ms", 20);

        StreamsBuilder builder = new StreamsBuilder();
        builder.stream("llm_usage", Consumed.with(Serdes.String(), usage()))
            .groupByKey(Grouped.with(Serdes.String(), usage()))
            .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofHours(1), Duration.ofMinutes(5)))
            .aggregate(Hour::new, (team, usage, hour) -> hour.add(usage), Materialized.with(Serdes.String(), hour()))
            .toStream()
            .flatMap((window, hour) -> {
                List<KeyValue<String, byte[]>> rows = new ArrayList<>();
                hour.totals.forEach((place, row) -> rows.add(
                    KeyValue.pair(window.window().start() + "|" + place, write(row))));
                return rows;
            })
            .to("bench_hourly", Produced.with(Serdes.String(), Serdes.ByteArray()));

        KafkaStreams streams = new KafkaStreams(builder.build(config), config);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            return org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler
                .StreamThreadExceptionResponse.SHUTDOWN_APPLICATION;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
        streams.start();
    }
}
