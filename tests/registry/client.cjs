// What @kafkajs/confluent-schema-registry is told by a registry, as one JSON object: client URL SCHEMA NARROWER WIDER
const Ajv2020 = require("ajv/dist/2020");
const { SchemaRegistry, SchemaType } = require("@kafkajs/confluent-schema-registry");

const event = { count: 3, name: "x" };
const failed = (error) => `${error.status ?? ""} ${error.name}`.trim();

async function main([host, schema, narrower, wider]) {
  const registry = new SchemaRegistry({ host }, { [SchemaType.JSON]: { ajvInstance: new Ajv2020() } });
  const type = SchemaType.JSON;
  const register = (text, subject) => registry.register({ type, schema: text }, { subject });
  const follows = async (text, subject) => {
    await register(schema, subject);
    return register(text, subject).then(() => true, failed);
  };
  const { id } = await register(schema, "node-1");
  const bytes = await registry.encode(id, event);
  return {
    "the same schema again": (await register(schema, "node-1")).id === id,
    "the newest id": (await registry.getLatestSchemaId("node-1")) === id,
    "id of a schema": (await registry.getRegistryIdBySchema("node-1", { type, schema })) === id,
    "value with a frame": [await registry.decode(bytes), bytes.readUInt8(0), bytes.readUInt32BE(1) === id],
    "value that the schema refuses": await registry.encode(id, { ...event, count: "x" }).then(() => true, failed),
    "latest of a missing subject": await registry.getLatestSchemaId("nobody-has-it").then(() => true, failed),
    "registers: an optional field added": await follows(wider, "node-2"),
    "registers: a field removed": await follows(narrower, "node-3"),
  };
}

main(process.argv.slice(2)).then(
  (told) => console.log(JSON.stringify(told)),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
