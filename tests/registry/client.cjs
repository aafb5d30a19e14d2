// What @kafkajs/confluent-schema-registry gets from ours, as one JSON object: client URL SUBJECT SCHEMA-FILE EVENT-FILE
const { readFileSync } = require("fs");
const Ajv2020 = require("ajv/dist/2020");
const { SchemaRegistry, SchemaType } = require("@kafkajs/confluent-schema-registry");

async function main([host, subject, schemaFile, eventFile]) {
  const registry = new SchemaRegistry({ host }, { [SchemaType.JSON]: { ajvInstance: new Ajv2020() } });
  const schema = readFileSync(schemaFile, "utf8");
  const event = JSON.parse(readFileSync(eventFile, "utf8"));
  const { id } = await registry.register({ type: SchemaType.JSON, schema }, { subject });
  const again = await registry.register({ type: SchemaType.JSON, schema }, { subject });
  const bytes = await registry.encode(id, event);
  const decoded = await registry.decode(bytes);
  const refused = await registry.encode(id, { ...event, count: "x" }).then(() => "", (error) => error.name);
  const missing = await registry.getLatestSchemaId("nobody-has-it").then(() => "", (error) => error.message);
  return {
    id,
    again: again.id,
    latest: await registry.getLatestSchemaId(subject),
    found: await registry.getRegistryIdBySchema(subject, { type: SchemaType.JSON, schema }),
    magic: [...bytes.subarray(0, 5)],
    decoded,
    refused,
    missing,
  };
}

main(process.argv.slice(2)).then(
  (told) => console.log(JSON.stringify(told)),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
