// PostHog's client for Node, used as its documentation shows: `node client_node.cjs <JSON>`, answers with JSON.
//
// In:  {"host", "token", "flavor", "many", "modules"}; flavor "plain" packs nothing, "late" has a clock an hour behind.
// Out: {"uuids": {uuid: event}, "errors": [...]}; the uuids are those that were given to the client.

const { randomUUID } = require("node:crypto");
const { createRequire } = require("node:module");

const asked = JSON.parse(process.argv[2]);
const HOUR_MS = 3_600_000;

if (asked.flavor === "late") {
  const RealDate = Date;
  globalThis.Date = class extends RealDate {
    constructor(...given) {
      super(...(given.length ? given : [RealDate.now() - HOUR_MS]));
    }
    static now() {
      return RealDate.now() - HOUR_MS;
    }
  };
}

const { PostHog } = createRequire(asked.modules + "/")("posthog-node");

const uuids = {};
const errors = [];
const client = new PostHog(asked.token, {
  host: asked.host,
  disableCompression: asked.flavor === "plain",
  fetchRetryCount: 100,
  fetchRetryDelay: 300,
});
client.on("error", (error) => errors.push(String(error)));

function capture(event, distinctId, more) {
  const uuid = randomUUID();
  uuids[uuid] = event;
  client.capture({ event, distinctId, uuid, ...more });
}

function tour() {
  capture("order placed", "user_456", { properties: { price: 12.5, name: "Müller ☃" } });
  const timestamp = new Date(Date.now() - 5 * 60_000);
  capture("plan chosen", "user_456", { timestamp, groups: { company: "hanzo" } });
  client.identify({ distinctId: "user_456", properties: { plan: "pro" } });
  client.alias({ distinctId: "user_456", alias: "visitor_1" });
  client.groupIdentify({ groupType: "company", groupKey: "hanzo", properties: { seats: 7 } });
}

function many() {
  for (let number = 0; number < asked.many; number++) {
    capture("clicked", `user_${number}`);
  }
}

(asked.many ? many : tour)();
client.shutdown(120_000).then(() => console.log(JSON.stringify({ uuids, errors })));
