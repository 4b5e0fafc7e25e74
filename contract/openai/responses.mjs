// npm openai 7.57.0, unmodified: the Responses API, raw and by its helper.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { after, test } from 'node:test'
import { promisify } from 'node:util'
import OpenAI from 'openai'
import { chance, seed, text } from '../chance.mjs'
import { Cutter } from '../cutter.mjs'
import { hasEnded, isLost, isWhole, openai, read, readOn, textOf } from './sdk.mjs'
import { chunk, finish, paced, pieces, Provider, RESET, used } from '../provider.mjs'
import { Relay } from '../relay.mjs'

const options = { timeout: 30_000 }

const hard = text(3000, chance(100))
const short = text(300, chance(101))
const thought = 'First 🤔, then 日本語 – "quoted" \\ 👩‍👩‍👧.'
const city = '{"city":"Zürich 🏔️","note":"a \\"b\\" \\\\ \\u00e9\\n"}'

const provider = await Provider.start({
  async *hard() {
    yield* paced(pieces(hard, chance(102)))
    yield finish()
    yield used(7, 1234)
  },
  *short() {
    yield* pieces(short, chance(103))
    yield finish()
    yield used(3, 99)
  },
  *thinking() {
    yield* pieces(thought, chance(104), 'reasoning_content')
    yield* pieces(short, chance(105))
    for (const [index, name] of ['weather', 'time'].entries()) {
      yield chunk({ tool_calls: [{ index, id: `call_${name}`, type: 'function', function: { name, arguments: '' } }] })
      for (const c of city) yield chunk({ tool_calls: [{ index, function: { arguments: c } }] })
    }
    yield finish('tool_calls')
    yield used(5, 77)
  },
  *long() {
    yield* pieces(short, chance(106))
    yield finish('length')
  },
  *broken() {
    yield* pieces(short, chance(107))
    yield RESET
  },
})
const upstream = ['--upstream', `name=own,base_url=${provider.url}/v1,retries=0`]
const relay = await Relay.start(...upstream)
after(async () => {
  await relay.stop()
  await provider.close()
})
const client = openai(relay.url)
const alone = await Relay.start() // it has the demo only
after(() => alone.stop())

// The lines of the README take as long as a reader does, so the others run meanwhile.
const readme = (async () => {
  const text = await readFile(new URL('../../README.md', import.meta.url), 'utf8')
  const [, lines] = /## With OpenAI's SDKs[^]*?```js\n([^]*?)```/.exec(text)
  const code = lines.replace('http://127.0.0.1:8080', alone.url)
  assert.notEqual(code, lines)
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', code], { cwd: import.meta.dirname })
  return stdout
})()
readme.catch(() => {}) // its test tells

/** A line to the relay that is cut, until the end of the test. */
async function cut(t, { to = relay, ...how }) {
  t.diagnostic(`CONTRACT_SEED=${seed}`)
  const cutter = await Cutter.start({ port: to.port, ...how })
  t.after(() => cutter.close())
  return cutter
}

// The first line lasts until there is an event: without one there is nothing to resume.
const place = (most) => (random, n) => random(n ? 1 : 4000, most)

test('raw: create, then retrieve with starting_after over 60 cuts of a running response', options, async (t) => {
  const cutter = await cut(t, { cuts: 60, place: place(8000), salt: 110 })
  const client = openai(cutter.url)
  const events = []
  const lost = await readOn(client, events, () =>
    client.responses.create({ model: 'own/hard', input: 'x', stream: true, background: true, tokenrelay: { unit: 'rune' } }))
  t.diagnostic(`${cutter.made} cuts, ${cutter.inEvent} of them in mid-event, ${lost} streams lost, ${events.length} events`)
  assert.ok(lost >= 50, `streams lost = ${lost}, want at least 50`)
  isWhole(events, hard)
  assert.equal(provider.asked('hard'), 1)
  for (const { url, body } of client.sent.slice(1)) {
    assert.match(url.search, /^\?stream=true&starting_after=\d+$/)
    assert.equal(body, undefined)
  }
  const { usage } = events.at(-1).response
  assert.deepEqual([usage.input_tokens, usage.output_tokens, usage.total_tokens], [7, 1234, 1241])
  // The same again, from any event on, now that it has ended.
  const { id } = events[0].response
  for (const after of [undefined, 0, 1, 7, events.length - 2]) {
    const again = []
    assert.ok(await read(again, () => openai(relay.url).responses.retrieve(id, { stream: true, ...(after !== undefined && { starting_after: after }) })))
    assert.deepEqual(again, events.slice(after === undefined ? 0 : after + 1))
  }
})

test('raw: retrieve over 60 cuts of an ended response', options, async (t) => {
  const whole = []
  await readOn(client, whole, () => client.responses.create({ model: 'own/hard', input: 'x', stream: true }))
  const cutter = await cut(t, { cuts: 60, place: (random) => random(1, 3000), salt: 111 })
  const lossy = openai(cutter.url)
  const events = []
  let lost = 0
  const { id } = whole[0].response
  for (; !hasEnded(events); lost++) {
    await read(events, () => lossy.responses.retrieve(id, { stream: true, ...(events.length && { starting_after: events.at(-1).sequence_number }) }))
  }
  t.diagnostic(`${cutter.made} cuts, ${cutter.inEvent} of them in mid-event, ${events.length} events`)
  assert.ok(lost >= 50, `streams read = ${lost}, want at least 50`)
  assert.deepEqual(events, whole)
  isWhole(events, hard)
})

test('the SDK asks again by itself when the head is lost, and keeps the cursor', options, async (t) => {
  const { id } = await client.responses.create({ model: 'own/short', input: 'x' })
  const cutter = await cut(t, { cuts: 2, place: (random) => random(1, 90), salt: 112 })
  const patient = openai(cutter.url, { maxRetries: 2 })
  const events = []
  assert.ok(await read(events, () => patient.responses.retrieve(id, { stream: true, starting_after: 3 })))
  assert.equal(cutter.made, 2)
  assert.deepEqual(patient.sent.map(({ url }) => url.search), Array(3).fill('?stream=true&starting_after=3'))
  assert.equal(events[0].sequence_number, 4)
})

// It asks for the whole stream and leaves out what it has had, so a cut costs
// it all: they fall anywhere in the stream, the first one behind its beginning.
for (const what of ['running', 'ended']) {
  test(`helper: stream with starting_after over 20 cuts of a response that ${what === 'ended' ? 'has ended' : 'runs'}, then finalResponse`, options, async (t) => {
    const { id } = await client.responses.create({ model: 'own/short', input: 'x' })
    const whole = []
    await read(whole, () => client.responses.retrieve(id, { stream: true }))
    const size = JSON.stringify(whole).length
    const cutter = await cut(t, { cuts: 20, place: (random, n) => random(n ? 400 : 4000, size), salt: 113 + Number(what === 'running') * 10 })
    const lossy = openai(cutter.url)
    const seen = []
    let open = () => lossy.responses.stream(what === 'ended' ? { response_id: id } : { model: 'own/short', input: 'x', background: true })
    let final
    let lost = 0
    while (final === undefined) {
      const stream = open()
      stream.on('event', (event) => seen.push(event))
      try {
        final = await stream.finalResponse()
      } catch (error) {
        if (!isLost(error)) throw error
        lost++
        open = () => lossy.responses.stream({ response_id: seen[0].response.id, starting_after: seen.at(-1).sequence_number })
      }
    }
    t.diagnostic(`${lost} streams lost, ${seen.length} events`)
    assert.ok(lost >= 10, `streams lost = ${lost}, want at least 10`)
    assert.deepEqual(seen.map((e) => e.sequence_number), [...seen.keys()])
    assert.equal(textOf(seen), short)
    assert.deepEqual([final.output_text, final.status, final.id], [short, 'completed', seen[0].response.id])
    for (const { url } of lossy.sent.slice(1)) assert.equal(url.search, '?stream=true')
  })
}

test('helper: create and follow', options, async () => {
  const stream = client.responses.stream({ model: 'own/short', input: [{ role: 'user', content: 'x' }] })
  let snapshot = ''
  stream.on('response.output_text.delta', (event) => (snapshot = event.snapshot))
  const final = await stream.finalResponse()
  assert.deepEqual([snapshot, final.output_text, final.status], [short, short, 'completed'])
})

test('helper: reasoning and function calls in its snapshots', options, async () => {
  const tools = ['weather', 'time'].map((name) => ({ type: 'function', name, parameters: { type: 'object', properties: {} }, strict: false }))
  const stream = client.responses.stream({ model: 'own/thinking', input: 'x', tools })
  const calls = {}
  stream.on('response.function_call_arguments.delta', (event) => (calls[event.item_id] = event.snapshot))
  const { output, output_text } = await stream.finalResponse()
  assert.deepEqual(output.map((item) => item.type), ['reasoning', 'message', 'function_call', 'function_call'])
  const [reasoning, , ...functions] = output
  assert.equal([...reasoning.summary, ...(reasoning.content ?? [])].map((part) => part.text).join(''), thought)
  assert.equal(output_text, short)
  assert.deepEqual(functions.map((f) => [f.name, f.call_id, f.arguments]), [['weather', 'call_weather', city], ['time', 'call_time', city]])
  assert.deepEqual(functions.map((f) => calls[f.id]), [city, city])
  const asked = provider.requests.findLast((body) => body.model === 'thinking')
  assert.deepEqual(asked.tools.map((tool) => [tool.type, tool.function.name]), [['function', 'weather'], ['function', 'time']])
  // The same without a stream.
  const whole = await client.responses.create({ model: 'own/thinking', input: 'x', tools })
  assert.deepEqual(whole.output.map((item) => [item.type, item.arguments]), output.map((item) => [item.type, item.arguments]))
})

test('a length that was reached is an incomplete response', options, async () => {
  const final = await client.responses.stream({ model: 'own/long', input: 'x' }).finalResponse()
  assert.deepEqual([final.status, final.incomplete_details.reason, final.output_text], ['incomplete', 'max_output_tokens', short])
})

test('the demo answers without a key, streamed or not, and the same for the same seed', options, async () => {
  const body = { model: 'demo', input: 'Tell me of 日本語 and 👩‍👩‍👧', tokenrelay: { seed: 7, length: 60, rate: 2000 } }
  const whole = await client.responses.create(body)
  assert.equal(whole.status, 'completed')
  const streamed = await client.responses.stream(body).finalResponse()
  assert.equal(streamed.output_text, whole.output_text)
  const native = await fetch(`${relay.url}/v1/sessions/${whole.id.replace(/^resp_/, '')}/text`)
  assert.equal(whole.output_text, await native.text())
})

test('previous_response_id goes on with a conversation', options, async () => {
  const first = await client.responses.create({ model: 'own/short', input: 'one', instructions: 'Be é.' })
  const second = await client.responses.create({ model: 'own/short', input: 'two', previous_response_id: first.id })
  assert.deepEqual([second.output_text, second.previous_response_id], [short, first.id])
  const said = provider.requests.at(-1).messages.map((m) => [m.role, typeof m.content === 'string' ? m.content : m.content.map((part) => part.text).join('')])
  assert.deepEqual(said, [['user', 'one'], ['assistant', short], ['user', 'two']]) // as at OpenAI, instructions are of one request
  await client.responses.delete(first.id)
  await assert.rejects(client.responses.create({ model: 'own/short', input: 'x', previous_response_id: first.id }), (error) => error instanceof OpenAI.APIError && error.param === 'previous_response_id')
})

test('background and poll', options, async () => {
  const first = await client.responses.create({ model: 'own/hard', input: 'x', background: true })
  assert.ok(['queued', 'in_progress'].includes(first.status), first.status)
  let polled = first
  while (['queued', 'in_progress'].includes(polled.status)) {
    await new Promise((resolve) => setTimeout(resolve, 20)) // between two looks
    polled = await client.responses.retrieve(first.id)
  }
  assert.deepEqual([polled.status, polled.output_text, polled.id], ['completed', hard, first.id])
})

test('cancel is seen by all, and can be repeated; delete forgets', options, async () => {
  const body = { model: 'demo', input: 'x', background: true, stream: true, tokenrelay: { rate: 100, length: 5000 } }
  const events = []
  const stream = await client.responses.create(body)
  let helper, cancelled
  for await (const event of stream) {
    events.push(event)
    if (event.sequence_number === 5) helper = client.responses.stream({ response_id: events[0].response.id }).finalResponse()
    if (event.sequence_number === 20) cancelled = await client.responses.cancel(events[0].response.id)
  }
  assert.equal(cancelled.status, 'cancelled')
  assert.equal(events.at(-1).type, 'response.incomplete')
  const last = events.at(-1).response
  assert.deepEqual([last.status, last.output[0].content[0].text], ['cancelled', textOf(events)])
  assert.deepEqual(await client.responses.cancel(cancelled.id), cancelled)
  const { output_text, ...retrieved } = await client.responses.retrieve(cancelled.id)
  assert.deepEqual([retrieved, output_text], [cancelled, textOf(events)]) // the SDK makes output_text of what was retrieved
  const helped = await helper
  assert.deepEqual([helped.status, helped.output_text], ['cancelled', textOf(events)])

  await client.responses.delete(cancelled.id)
  for (const ask of [
    () => client.responses.retrieve(cancelled.id),
    () => client.responses.retrieve(cancelled.id, { stream: true }),
    () => client.responses.cancel(cancelled.id),
  ]) {
    await assert.rejects(ask, (error) => error instanceof OpenAI.NotFoundError && error.status === 404 && Boolean(error.code))
  }
})

test('a broken upstream is an error, not a short answer, and nobody asks again', options, async () => {
  const events = []
  const patient = openai(relay.url, { maxRetries: 2 })
  await read(events, () => patient.responses.create({ model: 'own/broken', input: 'x', stream: true }))
  const end = events.at(-1)
  assert.equal(end.type, 'response.failed')
  assert.deepEqual([end.response.status, end.response.error.code], ['failed', 'server_error'])
  assert.match(end.response.error.message, /upstream_truncated|broke|end/)
  assert.ok(short.startsWith(textOf(events)), textOf(events))
  assert.equal(provider.asked('broken'), 1)

  // Who comes later sees the same, and so does who polls.
  const again = []
  await read(again, () => patient.responses.retrieve(end.response.id, { stream: true }))
  assert.deepEqual(again, events)
  const polled = await patient.responses.retrieve(end.response.id)
  assert.deepEqual([polled.status, polled.error], ['failed', end.response.error])

  const final = await patient.responses.stream({ model: 'own/broken', input: 'x' }).finalResponse()
  assert.deepEqual([final.status, final.error], ['failed', end.response.error])
  assert.equal(provider.asked('broken'), 2)

  const sent = patient.sent.length
  await assert.rejects(patient.responses.create({ model: 'own/broken', input: 'x' }), (error) => {
    assert.ok(error instanceof OpenAI.InternalServerError)
    assert.deepEqual([error.status, error.code, error.type], [502, 'upstream_truncated', 'server_error'])
    return true
  })
  assert.deepEqual([patient.sent.length, provider.asked('broken')], [sent + 1, 3])
})

test('bad requests are the typed errors of the SDK', options, async () => {
  const demo = openai(alone.url, { maxRetries: 2 })
  const client = openai(relay.url, { maxRetries: 2 })
  const { id } = await client.responses.create({ model: 'own/short', input: 'x' })
  await client.responses.create({ model: 'own/short', input: 'x' }, { headers: { 'Idempotency-Key': 'one' } })
  const missing = 'resp_0000000000000000000000'
  const cases = [
    [() => demo.responses.create({ model: 'gpt-5', input: 'x' }), OpenAI.NotFoundError, 'model_not_found', 'model'],
    [() => client.responses.create({ input: 'x' }), OpenAI.BadRequestError, /./, 'model'],
    [() => client.responses.create({ model: 'demo', input: 'x', conversation: 'conv_1' }), OpenAI.BadRequestError, 'unsupported_parameter', 'conversation'],
    [() => client.responses.create({ model: 'demo', input: 7 }), OpenAI.BadRequestError, /./, 'input'],
    [() => client.responses.create({ model: 'demo', input: 'x', tokenrelay: { unit: 'furlong' } }), OpenAI.BadRequestError, 'invalid_field', /unit/],
    [() => client.responses.create({ model: 'own/short', input: 'other' }, { headers: { 'Idempotency-Key': 'one' } }), OpenAI.ConflictError, 'idempotency_key_reused'],
    [() => client.responses.retrieve(missing), OpenAI.NotFoundError, 'session_not_found'],
    [() => client.responses.cancel(missing), OpenAI.NotFoundError, 'session_not_found'],
    [() => client.responses.delete(missing), OpenAI.NotFoundError, 'session_not_found'],
    [() => client.responses.retrieve(id, { stream: true, starting_after: -1 }), OpenAI.BadRequestError, 'malformed_cursor'],
    [() => client.responses.retrieve(id, { stream: true, starting_after: 100_000 }), OpenAI.APIError, 'cursor_ahead'],
  ]
  for (const [ask, type, code, param] of cases) {
    const before = client.sent.length + demo.sent.length
    await assert.rejects(ask, (error) => {
      assert.ok(error instanceof type, `${ask}: ${error?.stack}`)
      if (code instanceof RegExp) assert.match(error.code, code, `${ask}`)
      else assert.equal(error.code, code, `${ask}: ${error.message}`)
      if (param instanceof RegExp) assert.match(error.param, param)
      else if (param) assert.equal(error.param, param, `${ask}: ${error.message}`)
      return true
    })
    assert.equal(client.sent.length + demo.sent.length, before + 1, `${ask}: was asked again`)
  }
})

test('Idempotency-Key: a create whose connection is cut anywhere is the same response', options, async (t) => {
  const asked = provider.asked('hard')
  const size = 400_000
  // Before the head, within it, right after it, and anywhere.
  const at = [1, 60, 250, 700]
  const cutter = await cut(t, { cuts: 16, place: (random, n) => at[n] ?? random(1, size), salt: 114 })
  const lossy = openai(cutter.url)
  const body = { model: 'own/hard', input: 'x', stream: true, background: true, tokenrelay: { unit: 'rune' } }
  const ids = new Set()
  for (let tries = 1; ; tries++) {
    const events = []
    const ended = await read(events, () => lossy.responses.create(body, { headers: { 'Idempotency-Key': 'the-key' } }))
    if (events.length) ids.add(events[0].response.id)
    if (!ended) continue
    t.diagnostic(`${tries} creates, ${cutter.made} cuts`)
    assert.ok(tries > 5, `creates = ${tries}, want more than 5`)
    isWhole(events, hard)
    break
  }
  assert.equal(ids.size, 1)
  assert.equal(provider.asked('hard'), asked + 1)

  // And the SDK's own retry of a head that is lost.
  const head = await cut(t, { cuts: 1, place: (random) => random(1, 60), salt: 115 })
  const patient = openai(head.url, { maxRetries: 2 })
  const short = provider.asked('short')
  const done = await patient.responses.create({ model: 'own/short', input: 'x' }, { headers: { 'Idempotency-Key': 'another' } })
  assert.equal(done.status, 'completed')
  assert.deepEqual([patient.sent.length, provider.asked('short')], [2, short + 1])
})

test('goes on exactly after a kill -9 and a restart', options, async (t) => {
  t.diagnostic(`CONTRACT_SEED=${seed}`)
  const relay = await Relay.start()
  t.after(() => relay.stop())
  const random = chance(116)
  const client = openai(relay.url)
  const body = { model: 'demo', input: '日本語 👩‍👩‍👧', stream: true, background: true, tokenrelay: { unit: 'rune', rate: 1000, length: 100, seed: 5 } }
  const events = []
  const at = random(20, 400)
  let restarted
  const watched = async () => {
    const stream = await client.responses.create(body)
    return (async function* () {
      for await (const event of stream) {
        yield event
        if (event.sequence_number === at) restarted = relay.restart()
      }
    })()
  }
  assert.equal(await read(events, watched), false, 'the stream was not lost')
  await restarted
  const before = events.length
  const lost = await readOn(client, events, () => client.responses.retrieve(events[0].response.id, { stream: true, starting_after: events.at(-1).sequence_number }))
  t.diagnostic(`killed at event ${at}, seen ${before}, ${lost} more lost, ${events.length} events`)
  const whole = await client.responses.create({ ...body, stream: false, background: false, tokenrelay: { length: 100, seed: 5 } })
  isWhole(events, whole.output_text)
})

test('the lines of the README', options, async () => {
  const printed = await readme
  const { sessions } = await alone.must('GET', '/v1/sessions') // newest first
  const native = await fetch(`${alone.url}/v1/sessions/${sessions.at(-1).id}/text`)
  assert.equal(printed, await native.text())
})
