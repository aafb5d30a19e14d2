// Sends the records of the vector files that are named; without any, one usage event.
import { readFileSync } from 'node:fs'
import { connect, usage } from './producer.ts'

const vectors = process.argv.slice(2).flatMap((name) => readFileSync(name, 'utf8').trim().split('\n'))
const messages = vectors.map((line) => {
  const { topic, key, value_b64 } = JSON.parse(line)
  return { topic, key: Buffer.from(key), value: value_b64 === null ? null! : Buffer.from(value_b64, 'base64') }
})
const facts = { provider: 'together', model: 'zen-72b', prompt_tokens: 150, completion_tokens: 230, total_tokens: 380 }
const producer = connect()
if (messages.length === 0) messages.push(usage('team_abc123', 'org_hanzo', '0.0038', facts))
await producer.send({ messages })
await producer.close()
console.log(messages.length, 'acknowledged')
