// What franz-go's client of schema registries gets from ours, as one JSON object: client URL SUBJECT SCHEMA-FILE
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/twmb/franz-go/pkg/sr"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	client, err := sr.NewClient(sr.URLs(os.Args[1]))
	must(err)
	subject, ctx, told := os.Args[2], context.Background(), map[string]any{}
	text, err := os.ReadFile(os.Args[3])
	must(err)
	schema := sr.Schema{Schema: string(text), Type: sr.TypeJSON}

	made, err := client.CreateSchema(ctx, subject, schema)
	must(err)
	told["id"], told["version"] = made.ID, made.Version
	byID, err := client.SchemaByID(ctx, made.ID)
	must(err)
	told["byID"], told["type"] = byID.Schema, byID.Type.String()
	found, err := client.LookupSchema(ctx, subject, schema)
	must(err)
	told["lookup"] = found.Version
	fits, err := client.CheckCompatibility(ctx, subject, -1, schema)
	must(err)
	told["compatible"] = fits.Is
	narrower, err := client.CheckCompatibility(ctx, subject, -1, sr.Schema{Schema: os.Args[4], Type: sr.TypeJSON})
	must(err)
	told["narrower"], told["messages"] = narrower.Is, narrower.Messages
	level, mode := client.Compatibility(ctx, sr.GlobalSubject)[0], client.Mode(ctx)[0]
	must(level.Err)
	must(mode.Err)
	told["level"], told["mode"] = level.Level.String(), mode.Mode.String()
	subjects, err := client.Subjects(ctx)
	must(err)
	told["subjects"] = subjects
	all, err := client.Schemas(ctx, subject)
	must(err)
	told["schemas"] = len(all)
	usages, err := client.SchemaUsagesByID(ctx, made.ID)
	must(err)
	told["usages"] = len(usages)
	types, err := client.SupportedTypes(ctx)
	must(err)
	told["types"] = len(types)

	var wrong *sr.ResponseError
	_, err = client.SchemaByVersion(ctx, "nobody-has-it", 1)
	if !errors.As(err, &wrong) {
		must(fmt.Errorf("no error of the registry: %v", err))
	}
	told["missing"] = wrong.ErrorCode
	_, err = client.CreateSchema(ctx, subject, sr.Schema{Schema: os.Args[4], Type: sr.TypeJSON})
	if !errors.As(err, &wrong) {
		must(fmt.Errorf("no error of the registry: %v", err))
	}
	told["refused"] = wrong.ErrorCode
	must(json.NewEncoder(os.Stdout).Encode(told))
}
