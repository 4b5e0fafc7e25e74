// What the tests with npm openai 7.57.0 share: the SDK as it comes, and the ways
// that its guides have for a connection that is lost.
import assert from 'node:assert/strict'
import OpenAI, { APIConnectionError, APIError, OpenAIError } from 'openai'

/** The SDK, asking the relay at an address, and the requests that it sends in sent. */
export function openai(url, options = {}) {
  const sent = []
  const client = new OpenAI({
    apiKey: 'none is needed',
    baseURL: `${url}/v1`,
    maxRetries: 0, // so that a test sees each connection that is lost
    fetch: (to, init) => (sent.push({ url: new URL(to), ...init }), fetch(to, init)),
    ...options,
  })
  return Object.assign(client, { sent })
}

/**
 * Whether an error says that a connection has been lost: before the head the SDK
 * says so, behind it fetch does, whose error the helpers wrap.
 */
export function isLost(error) {
  if (error instanceof APIConnectionError) return true
  if (error instanceof OpenAIError && !(error instanceof APIError)) return isLost(error.cause)
  return error instanceof TypeError && error.message === 'terminated'
}

/** The types of events that a response's stream ends with. */
const terminal = new Set(['response.completed', 'response.incomplete', 'response.failed'])

/** Whether a stream has come to its end. */
export const hasEnded = (events) => terminal.has(events.at(-1)?.type)

/**
 * Reads one stream of a response into events, and returns whether it came to
 * its end. A stream that stops cleanly before is a failure of the relay.
 */
export async function read(events, open) {
  try {
    for await (const event of await open()) events.push(event)
  } catch (error) {
    if (!isLost(error)) throw error
    return hasEnded(events)
  }
  assert.ok(hasEnded(events), `the stream stops after ${events.at(-1)?.type}, without an error`)
  return true
}

/**
 * Reads a response to its end by raw streams, the first of which open opens: a
 * connection that is lost is followed by retrieve with starting_after. Returns
 * how many were lost.
 */
export async function readOn(client, events, open) {
  let lost = 0
  for (; !(await read(events, open)); lost++) {
    const last = events.at(-1)
    assert.ok(last, 'lost before the first event: there is nothing to resume')
    open = () => client.responses.retrieve(events[0].response.id, { stream: true, starting_after: last.sequence_number })
  }
  return lost
}

/** The text that the deltas of a response's stream make. */
export const textOf = (events) => events.map((e) => (e.type === 'response.output_text.delta' ? e.delta : '')).join('')

/** Fails unless events are a whole completed response with that text, each once and in order. */
export function isWhole(events, text) {
  assert.deepEqual(events.map((e) => e.sequence_number), [...events.keys()])
  assert.deepEqual([events[0].type, events.at(-1).type], ['response.created', 'response.completed'])
  assert.equal(textOf(events), text)
  const { response } = events.at(-1)
  assert.equal(response.output.flatMap((item) => item.content ?? []).map((part) => part.text).join(''), text)
  assert.deepEqual([response.status, response.id], ['completed', events[0].response.id])
}
