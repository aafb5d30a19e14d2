// A producer of usage events with the standard's settings. Node runs it as it is: `node main.ts`.
import { readFileSync } from 'node:fs'
import { compatibilityPartitioner, ProduceAcks, Producer } from '@platformatic/kafka'
import { ulid } from 'ulid'

const { KAFKA_BOOTSTRAP, KAFKA_USER, KAFKA_PASSWORD_FILE, KAFKA_CA_FILE } = process.env

// This library has no batches that wait: `send` is one batch. The standard's 16 KB and 5 ms are for the caller to gather.
export function connect() {
  const locked = KAFKA_USER && {
    tls: { ca: readFileSync(KAFKA_CA_FILE!), minVersion: 'TLSv1.3' as const },
    sasl: {
      mechanism: 'PLAIN' as const,
      username: KAFKA_USER,
      password: () => readFileSync(KAFKA_PASSWORD_FILE!, 'utf8').trim(), // read again at every login
    },
  }
  return new Producer<Buffer, Buffer>({
    clientId: 'llm-gateway',
    bootstrapBrokers: KAFKA_BOOTSTRAP!.split(','),
    acks: ProduceAcks.ALL,
    idempotent: true,
    compression: 'lz4',
    partitioner: compatibilityPartitioner, // murmur2 as Java's client has it; this library's default differs
    maxInflights: 5,
    retries: 300, // for 30 s
    retryDelay: 100,
    autocreateTopics: false,
    ...locked,
  })
}

/** One event: its id is made once, and kept for every attempt to send it. `cost` is the text of a number: JSON.stringify
 *  would write a float, so its digits are put into the text. */
export function usage(team: string, org: string, cost: string, data: Record<string, unknown>) {
  if (!/^(0|[1-9][0-9]{0,17})(\.[0-9]{1,12})?$/.test(cost)) throw new Error(`${cost} is no decimal number`)
  const { cost_usd: _, ...facts } = data // the cost comes last, and once
  const event = {
    schema: 'hanzo.stream.v1',
    id: `evt_${ulid()}`,
    type: 'llm.usage.completed',
    source: 'llm-gateway',
    timestamp: new Date().toISOString(),
    team_id: team,
    org_id: org,
    data: { ...facts, cost_usd: 0 },
  }
  const text = JSON.stringify(event).replace(/"cost_usd":0}}$/, () => `"cost_usd":${cost}}}`)
  return { topic: 'llm_usage', key: Buffer.from(team), value: Buffer.from(text) }
}
