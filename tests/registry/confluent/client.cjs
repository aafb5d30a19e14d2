// What @confluentinc/schemaregistry is told by a registry, as one JSON object: client URL SCHEMA NARROWER WIDER
const { HeaderSchemaIdSerializer, JsonDeserializer, JsonSerializer, SchemaRegistryClient, SerdeType } = require("@confluentinc/schemaregistry");

const event = { count: 3, name: "x" };
const failed = (error) => (error.errorCode ? `${error.status} ${error.errorCode}` : error.name);

async function main([url, schema, narrower, wider]) {
  const client = new SchemaRegistryClient({ baseURLs: [url], maxRetries: 0 });
  const info = (text) => ({ schema: text, schemaType: "JSON" });
  const follows = async (text, subject) => {
    await client.register(subject, info(schema));
    const fits = await client.testSubjectCompatibility(subject, info(text)).catch(failed);
    return [fits, await client.register(subject, info(text)).then(() => true, failed)];
  };
  const sent = async (topic, how, value) => {
    await client.register(`${topic}-value`, info(schema));
    const headers = {};
    const serializer = new JsonSerializer(client, SerdeType.VALUE, { useLatestVersion: true, validate: true, ...how });
    const bytes = await serializer.serialize(topic, value, headers);
    const deserializer = new JsonDeserializer(client, SerdeType.VALUE, {});
    return [await deserializer.deserialize(topic, bytes, headers), bytes.indexOf("{"), Object.keys(headers)];
  };
  const id = await client.register("confluent-1", info(schema));
  const header = { schemaIdSerializer: HeaderSchemaIdSerializer };
  return {
    "the same schema again": (await client.register("confluent-1", info(schema))) === id,
    "schema of an id": (await client.getBySubjectAndId("confluent-1", id)).schema === schema,
    "version of a schema": await client.getVersion("confluent-1", info(schema)).catch(failed),
    "newest version": (await client.getLatestSchemaMetadata("confluent-1")).version,
    subjects: (await client.getAllSubjects()).includes("confluent-1"),
    "level in force": await client.getDefaultCompatibility().catch(failed),
    "level of a subject, unset": await client.getCompatibility("confluent-1").catch(failed),
    "latest of a missing subject": await client.getLatestSchemaMetadata("nobody-has-it").catch(failed),
    "an optional field added": await follows(wider, "confluent-2"),
    "a field removed": await follows(narrower, "confluent-3"),
    "value with a frame": await sent("confluent-framed", {}, event).catch(failed),
    "value with a header": await sent("confluent-header", header, event).catch(failed),
    "value that the schema refuses": await sent("confluent-wrong", {}, { count: "many" }).catch(failed),
    deleted: await client.deleteSubject("confluent-1").catch(failed),
    "subjects then": (await client.getAllSubjects()).includes("confluent-1"),
  };
}

main(process.argv.slice(2)).then(
  (told) => console.log(JSON.stringify(told)),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
