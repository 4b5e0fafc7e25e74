// One log, many protocols: an answer that was begun in one of them is gone on
// with, stopped and read in any other, by the clients that their vendors made.
// npm openai 7.57.0, eventsource 4.1.1, ai 7.0.173, @ai-sdk/workflow 2.0.43, and
// curl.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { after, test } from 'node:test'
import { promisify } from 'node:util'
import { WorkflowChatTransport } from '@ai-sdk/workflow/client'
import { DefaultChatTransport, readUIMessageStream } from 'ai'
import { chance, seed, text } from '../chance.mjs'
import { Cutter } from '../cutter.mjs'
import { isWhole, openai, read, textOf } from './sdk.mjs'
import { finish, paced, pieces, Provider, used } from '../provider.mjs'
import { Relay } from '../relay.mjs'
import { follow, Transcript } from '../transcript.mjs'

const options = { timeout: 30_000 }

const hard = text(1200, chance(140))
const provider = await Provider.start({
  async *hard() {
    yield* paced(pieces(hard, chance(141)))
    yield finish()
    yield used(7, 1234)
  },
})
const relay = await Relay.start('--upstream', `name=own,base_url=${provider.url}/v1,retries=0`)
after(async () => {
  await relay.stop()
  await provider.close()
})
const client = openai(relay.url)
const messages = [{ role: 'user', content: 'x' }]
const uiMessages = [{ id: 'm1', role: 'user', parts: [{ type: 'text', text: 'x' }] }]

/** What curl prints. */
async function curl(...args) {
  const { stdout } = await promisify(execFile)('curl', ['-sSf', ...args], { maxBuffer: 1 << 26 })
  return stdout
}

/** Reads some of a stream and leaves. */
async function someOf(stream, few = 3) {
  for await (const item of stream) if (--few === 0) return item
  assert.fail('the stream was over at once')
}

// Each begins an answer, leaves it after a few events, and returns its session's id.
const starters = {
  async native() {
    const { id } = await relay.create({ source: { type: 'upstream', model: 'own/hard', messages }, unit: 'grapheme' })
    return id
  },
  async responses() {
    const stream = await client.responses.create({ model: 'own/hard', input: 'x', stream: true, background: true })
    const { response } = await someOf(stream)
    return response.id.slice('resp_'.length)
  },
  async chat() {
    const { data, response } = await client.chat.completions.create({ model: 'own/hard', messages, stream: true }).withResponse()
    const { id } = await someOf(data)
    assert.equal(id, `chatcmpl-${response.headers.get('x-tokenrelay-session')}`)
    return id.slice('chatcmpl-'.length)
  },
  async 'ui messages'() {
    let id
    const transport = new DefaultChatTransport({
      api: `${relay.url}/api/chat`,
      body: { model: 'own/hard' },
      fetch: async (...args) => {
        const answer = await fetch(...args)
        id = answer.headers.get('x-workflow-run-id')
        return answer
      },
    })
    await someOf(await transport.sendMessages({ chatId: 'a chat', messages: uiMessages, trigger: 'submit-message' }))
    return id
  },
}

// Each reads an answer from its beginning to its end, in all forms that its
// protocol has, and returns its text and its events.
const readers = {
  async native(id) {
    const seen = new Transcript()
    assert.equal(await follow(`${relay.url}/v1/sessions/${id}/events`, seen).closed, 204)
    seen.isExactly(hard)
    assert.equal(seen.end.type, 'done')
    assert.equal(await curl(`${relay.url}/v1/sessions/${id}/text`), hard)
    return { text: seen.text, events: seen.events }
  },
  async responses(id) {
    const events = []
    const helper = client.responses.stream({ response_id: `resp_${id}` }).finalResponse()
    assert.ok(await read(events, () => client.responses.retrieve(`resp_${id}`, { stream: true })))
    isWhole(events, hard)
    assert.equal((await helper).output_text, hard)
    assert.equal((await client.responses.retrieve(`resp_${id}`)).output_text, hard)
    return { text: textOf(events), events }
  },
  async chat(id) {
    const chunks = []
    for await (const c of await client.get(`/chat/completions/chatcmpl-${id}`, { query: { stream: true }, stream: true })) chunks.push(c)
    assert.equal(chunks.at(-1).choices[0].finish_reason, 'stop')
    const whole = await client.chat.completions.retrieve(`chatcmpl-${id}`)
    assert.equal(whole.choices[0].message.content, hard)
    return { text: chunks.map((c) => c.choices[0].delta.content ?? '').join(''), events: chunks }
  },
  async 'ui messages'(id) {
    const transport = new WorkflowChatTransport({ api: `${relay.url}/api/chat` })
    const [drawn, counted] = (await transport.reconnectToStream({ chatId: id, startIndex: 0 })).tee()
    const chunks = []
    const counting = (async () => {
      for await (const c of counted) chunks.push(c)
    })()
    let message
    for await (message of readUIMessageStream({ stream: drawn }));
    await counting
    assert.deepEqual([chunks[0].type, chunks.at(-1).type], ['start', 'finish'])
    return { text: message.parts.map((part) => part.text ?? '').join(''), events: chunks }
  },
}

for (const [from, start] of Object.entries(starters)) {
  test(`begun by ${from}, read whole by all`, options, async (t) => {
    t.diagnostic(`CONTRACT_SEED=${seed}`)
    const asked = provider.asked('hard')
    const id = await start()
    const live = await Promise.all(Object.values(readers).map((read) => read(id)))
    const ended = await Promise.all(Object.values(readers).map((read) => read(id)))
    for (const [i, to] of Object.keys(readers).entries()) {
      assert.equal(live[i].text, hard, to)
      assert.deepEqual(ended[i].events, live[i].events, to) // later the same, event by event
    }
    assert.equal(provider.asked('hard'), asked + 1)
  })
}

test('begun with openai-node, gone on with by EventSource, stopped as the AI SDK does, read with curl', options, async (t) => {
  t.diagnostic(`CONTRACT_SEED=${seed}`)
  const cutter = await Cutter.start({ port: relay.port, cuts: 1, place: (random) => random(6000, 20_000), salt: 142 })
  t.after(() => cutter.close())
  const lossy = openai(cutter.url)
  const demo = { unit: 'grapheme', rate: 500, length: 5000, seed: 11 }
  const events = []
  const body = { model: 'demo', input: 'Tell me of 日本語 👩‍👩‍👧', stream: true, background: true, tokenrelay: demo }
  assert.equal(await read(events, () => lossy.responses.create(body)), false, 'the line was not cut')
  const before = textOf(events)
  const response = events[0].response.id
  const id = response.slice('resp_'.length)

  const seen = new Transcript()
  const source = follow(`${relay.url}/v1/sessions/${id}/events`, seen)
  await seen.until((s) => s.text.length > before.length + 100, 'text behind the cut')
  assert.ok(seen.text.startsWith(before))

  // The SDK has no call for it: the route is what its guide to stopping has an application make.
  const stopped = await fetch(`${relay.url}/api/chat/${id}/stop`, { method: 'POST' })
  assert.equal(stopped.status, 200)
  assert.equal(await source.closed, 204)
  assert.equal(seen.end.type, 'stopped')
  seen.isExactly()
  const whole = seen.text

  assert.equal(await curl(`${relay.url}/v1/sessions/${id}/text`), whole)
  const object = JSON.parse(await curl(`${relay.url}/v1/responses/${response}`))
  assert.deepEqual([object.status, object.output[0].content[0].text], ['cancelled', whole])

  // All the others agree: what was lost comes after what was seen.
  assert.ok(await read(events, () => lossy.responses.retrieve(response, { stream: true, starting_after: events.at(-1).sequence_number })))
  assert.deepEqual(events.map((e) => e.sequence_number), [...events.keys()])
  assert.deepEqual([events.at(-1).type, events.at(-1).response.status, textOf(events)], ['response.incomplete', 'cancelled', whole])
  const chunks = []
  await assert.rejects(async () => {
    for await (const c of await client.get(`/chat/completions/chatcmpl-${id}`, { query: { stream: true }, stream: true })) chunks.push(c)
  }, (error) => error.code === 'stopped')
  assert.equal(chunks.map((c) => c.choices[0].delta.content ?? '').join(''), whole)
  const parts = []
  for await (const c of await new WorkflowChatTransport({ api: `${relay.url}/api/chat` }).reconnectToStream({ chatId: id, startIndex: 0 })) parts.push(c)
  assert.equal(parts.map((c) => c.delta ?? '').join(''), whole)
  assert.deepEqual(parts.slice(-2).map((c) => c.type), ['abort', 'finish'])
})
