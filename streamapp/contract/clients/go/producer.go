// A producer of usage events with the standard's settings.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
)

func options() []kgo.Opt { // all acks, idempotence and five requests in flight are what franz-go does by itself
	given := []kgo.Opt{
		kgo.SeedBrokers(strings.Split(os.Getenv("KAFKA_BOOTSTRAP"), ",")...),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)), // murmur2 of the key, as Java's client
		kgo.ProducerBatchCompression(kgo.Lz4Compression()),
		kgo.ProducerLinger(5 * time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 100 * time.Millisecond }),
		kgo.RecordDeliveryTimeout(30 * time.Second),
	}
	if user := os.Getenv("KAFKA_USER"); user != "" {
		pem, _ := os.ReadFile(os.Getenv("KAFKA_CA_FILE"))
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		login := plain.Plain(func(context.Context) (plain.Auth, error) { // read again at every login
			password, err := os.ReadFile(os.Getenv("KAFKA_PASSWORD_FILE"))
			return plain.Auth{User: user, Pass: strings.TrimSpace(string(password))}, err
		})
		given = append(given, kgo.DialTLSConfig(&tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots}), kgo.SASL(login))
	}
	return given
}

var decimal = regexp.MustCompile(`^(0|[1-9][0-9]{0,17})(\.[0-9]{1,12})?$`)

// usage is one event: its id is made once, and kept for every attempt to send it. The cost is the text of a number; an
// empty one would be written as 0.
func usage(team, org string, cost json.Number, facts map[string]any) (*kgo.Record, error) {
	if !decimal.MatchString(cost.String()) {
		return nil, fmt.Errorf("%q is not a decimal number with at most 12 decimals", cost)
	}
	data := map[string]any{}
	maps.Copy(data, facts) // the caller's stay as they are
	data["cost_usd"] = cost
	value, err := json.Marshal(map[string]any{"schema": "hanzo.stream.v1", "id": "evt_" + ulid.Make().String(),
		"type": "llm.usage.completed", "source": "llm-gateway", "team_id": team, "org_id": org,
		"timestamp": time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), "data": data})
	return &kgo.Record{Topic: "llm_usage", Key: []byte(team), Value: value}, err
}
