// What franz-go's client of schema registries is told by a registry, as one JSON object: client URL SCHEMA NARROWER WIDER
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/twmb/franz-go/pkg/sr"
)

var told = map[string]any{}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// tell keeps what was answered; an error of the registry is its status and code.
func tell(question string, answer any, err error) {
	var wrong *sr.ResponseError
	if errors.As(err, &wrong) {
		answer = fmt.Sprint(wrong.StatusCode, " ", wrong.ErrorCode)
	} else {
		must(err)
	}
	told[question] = answer
}

func main() {
	client, err := sr.NewClient(sr.URLs(os.Args[1]))
	must(err)
	ctx := context.Background()
	of := func(text string) sr.Schema { return sr.Schema{Schema: text, Type: sr.TypeJSON} }
	schema := of(os.Args[2])
	made, err := client.CreateSchema(ctx, "go-1", schema)
	must(err)
	tell("first version", made.Version, nil)
	byID, err := client.SchemaByID(ctx, made.ID)
	tell("schema of an id", []any{byID.Schema == schema.Schema, byID.Type.String()}, err)
	found, err := client.LookupSchema(ctx, "go-1", schema)
	tell("version of a schema", found.Version, err)
	subjects, err := client.Subjects(ctx)
	tell("subjects", slices.Contains(subjects, "go-1"), err)
	all, err := client.Schemas(ctx, "go-1")
	tell("versions of a subject", len(all), err)
	usages, err := client.SchemaUsagesByID(ctx, made.ID)
	used := slices.ContainsFunc(usages, func(one sr.SubjectSchema) bool { return one.Subject == "go-1" })
	tell("who uses an id", used, err)
	types, err := client.SupportedTypes(ctx)
	tell("types of schemas", fmt.Sprint(types), err)
	level := client.Compatibility(ctx, sr.GlobalSubject)[0]
	tell("level in force", level.Level.String(), level.Err)
	mode := client.Mode(ctx)[0]
	tell("mode in force", mode.Mode.String(), mode.Err)
	for what, text := range map[string]string{"the same": os.Args[2], "a field removed": os.Args[3], "an optional field added": os.Args[4]} {
		fits, err := client.CheckCompatibility(ctx, "go-1", -1, of(text))
		tell("may follow: "+what, fits.Is, err)
		tell("why: "+what, fits.Messages, err)
	}
	_, err = client.CreateSchema(ctx, "go-1", of(os.Args[3]))
	tell("registers: a field removed", true, err)
	_, err = client.SchemaByVersion(ctx, "nobody-has-it", 1)
	tell("version of a missing subject", true, err)
	_, err = client.SchemaByVersion(ctx, "go-1", 7)
	tell("missing version", true, err)
	must(json.NewEncoder(os.Stdout).Encode(told))
}
