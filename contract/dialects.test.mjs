// Every protocol that the relay asks providers in, against @copilotkit/aimock
// 1.43.0: the same answers, and the same ways to fail.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { LLMock } from '@copilotkit/aimock'
import { chance, text } from './chance.mjs'
import { Relay } from './relay.mjs'
import { follow, Transcript } from './transcript.mjs'

const options = { timeout: 30_000 }

// aimock cuts by UTF-16 code unit: with a chunk size of 1 the halves of one
// character come in two events.
const unicode = 'naïve café 👩‍👩‍👧 日本語 🏳️‍🌈👍🏽 𝒳𝒴 "\\ud83d" \\ 🇩🇪🇫🇷 cafe\u0301\r\nend 😀'
const thought = 'First 🤔, then 日本語.'
const story = Array.from({ length: 400 }, (_, i) => `sentence ${i} 🙂 `).join('')
const long = text(12_000, chance(80))
const paced = { ttft: 10, tps: 200 }

const mock = new LLMock({ host: '127.0.0.1', port: 0, strict: true, logLevel: 'silent' })
mock.addFixturesFromJSON([
  { match: { userMessage: 'plain' }, response: { content: long, usage: { prompt_tokens: 11, completion_tokens: 2345, total_tokens: 2356, input_tokens: 11, output_tokens: 2345 } }, chunkSize: 7 },
  { match: { userMessage: 'unicode' }, response: { content: unicode }, chunkSize: 1 },
  { match: { userMessage: 'reasoning' }, response: { content: 'So it is.', reasoning: thought }, chunkSize: 1 },
  { match: { userMessage: 'tools' }, response: { toolCalls: [{ name: 'weather', arguments: '{"city":"Zürich 🏔️"}' }, { name: 'time', arguments: '{"zone":"CET"}' }] }, chunkSize: 1 },
  { match: { userMessage: 'rate limit' }, response: { error: { message: 'Rate limited', type: 'rate_limit_error' }, status: 429 } },
  { match: { userMessage: 'broken' }, response: { error: { message: 'Out of order', type: 'server_error' }, status: 500 } },
  { match: { userMessage: 'cut time' }, response: { content: story }, chunkSize: 5, latency: 10, disconnectAfterMs: 250 },
  { match: { userMessage: 'cut chunks' }, response: { content: story }, chunkSize: 5, latency: 5, truncateAfterChunks: 40, streamingProfile: paced },
  { match: { userMessage: 'malformed' }, response: { content: 'never' }, chaos: { malformedRate: 1 } },
  { match: { userMessage: 'slow' }, response: { content: 'at last' }, latency: 400, chunkSize: 7 },
])
await mock.start()
after(() => mock.stop())

/** How a protocol is asked, and what aimock does otherwise in it. */
const dialects = [
  { protocol: 'chat', base: '/v1', usage: { input_tokens: 11, output_tokens: 2345, source: 'reported' } },
  { protocol: 'responses', base: '/v1', usage: { input_tokens: 11, output_tokens: 2345, source: 'reported' } },
  { protocol: 'anthropic', base: '/v1', usage: { input_tokens: 11, output_tokens: 2345, source: 'reported' } },
  // It reports no usage that was not measured, and sends its head with the first token.
  { protocol: 'ollama', base: '', hasty: 'header=100ms', slow: 'header_timeout' },
]

for (const { protocol, base, usage, hasty = 'first_token=100ms', slow = 'first_token_timeout' } of dialects) {
  const upstream = (name, ...more) => ['--upstream', [`name=${name}`, `protocol=${protocol}`, `base_url=${mock.url}${base}`, ...more].join(',')]
  const relay = await Relay.start(...upstream('once', 'retries=0'), ...upstream('hasty', 'retries=0', hasty), ...upstream('patient'))
  after(() => relay.stop())

  /** Asks, and returns what was seen once the session has ended. */
  const ask = async (content, { unit = 'token', name = 'once', model = 'gpt-4o' } = {}) => {
    const created = await relay.create({ source: { type: 'upstream', model: `${name}/${model}`, messages: [{ role: 'user', content }] }, unit })
    const seen = new Transcript()
    assert.equal(await follow(`${relay.url}${created.events_url}`, seen).closed, 204)
    seen.isExactly()
    seen.session = await relay.session(created.id)
    seen.reasoning = seen.events.filter((e) => e.type === 'reasoning').map((e) => e.data.text).join('')
    seen.calls = seen.events.filter((e) => e.type === 'tool_call').map((e) => e.data)
    assert.deepEqual(seen.session.usage, seen.end.data.usage)
    return seen
  }
  const failed = (seen, code, message = /./) => {
    assert.deepEqual([seen.end.type, seen.end.data.reason, seen.end.data.error?.code], ['failed', 'error', code])
    assert.match(seen.end.data.error.message, message)
    assert.deepEqual(seen.session.error, seen.end.data.error)
    assert.equal(seen.end.data.usage.source, 'estimated') // a failed answer has cost something too
  }

  test(`${protocol}: plain`, options, async () => {
    for (const unit of protocol === 'chat' ? ['token', 'grapheme', 'word', 'line', 'delta', 'rune'] : ['token', 'delta']) {
      const seen = await ask('plain', { unit })
      assert.deepEqual([seen.end.type, seen.end.data.reason, seen.text], ['done', 'stop', long], unit)
      assert.ok(seen.end.data.timings.first_token_ms >= 0)
      if (usage) assert.deepEqual(seen.end.data.usage, usage)
    }
  })

  test(`${protocol}: Unicode by single UTF-16 units`, options, async () => {
    for (const unit of ['delta', 'rune', 'grapheme', 'token', 'word', 'line']) {
      const seen = await ask('unicode', { unit })
      assert.deepEqual([seen.end.type, seen.text], ['done', unicode], unit)
      for (const e of seen.events) assert.ok(!(e.data.text ?? '').includes('\ufffd'), `${unit}: ${JSON.stringify(e)}`)
    }
  })

  test(`${protocol}: reasoning`, options, async () => {
    const seen = await ask('reasoning', { model: { chat: 'o3', responses: 'o3', anthropic: 'claude-sonnet-4-5', ollama: 'deepseek-r1' }[protocol] })
    assert.deepEqual([seen.end.type, seen.reasoning, seen.text], ['done', thought, 'So it is.'])
    assert.ok(seen.events.findIndex((e) => e.type === 'reasoning') < seen.events.findIndex((e) => e.type === 'message'))
  })

  test(`${protocol}: tool calls`, options, async () => {
    const seen = await ask('tools')
    assert.deepEqual([seen.end.type, seen.end.data.reason, seen.text], ['done', 'tool_calls', ''])
    const calls = [...new Set(seen.calls.map((c) => c.index))].map((index) => seen.calls.filter((c) => c.index === index))
    const whole = calls.map((parts) => [parts[0].name, JSON.parse(parts.map((p) => p.arguments).join(''))])
    assert.deepEqual(whole, [['weather', { city: 'Zürich 🏔️' }], ['time', { zone: 'CET' }]])
    for (const parts of calls) assert.ok(parts[0].id)
  })

  test(`${protocol}: 429, 500 and 503`, options, async () => {
    failed(await ask('rate limit'), 'upstream_rate_limited', /Rate limited/)
    failed(await ask('broken'), 'upstream_error', /Out of order/)
    failed(await ask('no such fixture'), 'upstream_overloaded') // 503, as aimock has it
    const asked = mock.journal.getAll().filter((e) => JSON.stringify(e.body).includes('broken')).length
    failed(await ask('broken', { name: 'patient' }), 'upstream_error', /Out of order/)
    assert.equal(mock.journal.getAll().filter((e) => JSON.stringify(e.body).includes('broken')).length, asked + 3, 'once, and two more times')
  })

  for (const content of ['cut time', 'cut chunks']) {
    test(`${protocol}: ${content}`, options, async () => {
      const seen = await ask(content, { name: 'patient' }) // what has begun is not asked for again
      failed(seen, 'upstream_truncated')
      assert.ok(seen.text.length > 20 && seen.text.length < story.length && story.startsWith(seen.text), `text = ${seen.text}`)
      assert.ok(seen.end.data.usage.output_tokens > 3)
      const again = new Transcript() // and whoever reads it later is told the same
      assert.equal(await follow(`${relay.url}${seen.session.events_url}`, again).closed, 204)
      assert.deepEqual(again.events, seen.events)
    })
  }

  test(`${protocol}: malformed`, options, async () => {
    const seen = await ask('malformed')
    failed(seen, 'upstream_malformed')
    assert.equal(seen.text, '')
  })

  test(`${protocol}: a slow first token`, options, async () => {
    const seen = await ask('slow')
    assert.deepEqual([seen.end.type, seen.text], ['done', 'at last'])
    assert.ok(seen.end.data.timings.first_token_ms >= 300, JSON.stringify(seen.end.data.timings))
    assert.deepEqual([seen.session.timings.first_token_ms, seen.session.timings.between_tokens_ms], [seen.end.data.timings.first_token_ms, seen.end.data.timings.between_tokens_ms])
    failed(await ask('slow', { name: 'hasty' }), slow)
  })
}
