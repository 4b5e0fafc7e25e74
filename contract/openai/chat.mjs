// npm openai 7.57.0, unmodified: chat completions, raw and by their helper, and
// the list of models.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import OpenAI, { APIError } from 'openai'
import { chance, seed, text } from '../chance.mjs'
import { Cutter } from '../cutter.mjs'
import { isLost, openai } from './sdk.mjs'
import { chunk, END, finish, paced, pieces, Provider, RESET, used } from '../provider.mjs'
import { Relay } from '../relay.mjs'
import { follow, Transcript } from '../transcript.mjs'

const options = { timeout: 30_000 }

const hard = text(2000, chance(120))
const short = text(300, chance(121))
const city = '{"city":"Zürich 🏔️","note":"a \\"b\\" \\\\ \\u00e9\\n"}'
const logprobs = (token) => ({ content: [{ token, logprob: -0.25, bytes: [...Buffer.from(token)], top_logprobs: [] }] })

const provider = await Provider.start({
  async *hard() {
    yield* paced(pieces(hard, chance(122)))
    yield finish()
    yield used(7, 1234)
  },
  *short() {
    yield* pieces(short, chance(123))
    yield finish()
    yield used(3, 99)
  },
  *tools() {
    for (const [index, name] of ['weather', 'time'].entries()) {
      yield chunk({ tool_calls: [{ index, id: `call_${name}`, type: 'function', function: { name, arguments: '' } }] })
      for (const c of city) yield chunk({ tool_calls: [{ index, function: { arguments: c } }] })
    }
    yield finish('tool_calls')
  },
  *own() {
    const own = { system_fingerprint: 'fp_own', service_tier: 'flex', x_own: { queue: 'é 👍🏽' } }
    for (const token of ['Hel', 'lo ', '日本', '👩‍👩‍👧']) {
      yield { ...own, choices: [{ index: 0, delta: { content: token }, finish_reason: null, logprobs: logprobs(token) }] }
    }
    yield { ...own, ...finish() }
    yield { ...own, choices: [], usage: { ...used(3, 4).usage, prompt_tokens_details: { cached_tokens: 2 } } }
  },
  *reset() {
    yield* pieces(short, chance(124))
    yield RESET
  },
  *ended() {
    yield* pieces(short, chance(125))
    yield END
  },
  *refuses() {
    yield { error: { message: 'no such value', type: 'invalid_request_error' } }
  },
  *limits() {
    yield { error: { message: 'slow down', type: 'rate_limit_error' } }
  },
  *overloaded() {
    yield { error: { message: 'later', type: 'overloaded_error' } }
  },
})
const upstream = `name=own,base_url=${provider.url}/v1,retries=0,model=hard,model=tools`
const relay = await Relay.start('--upstream', upstream)
after(async () => {
  await relay.stop()
  await provider.close()
})
const client = openai(relay.url)
const messages = [{ role: 'user', content: 'x' }]

/** The content that chunks make. */
const contentOf = (chunks) => chunks.map((c) => c.choices[0]?.delta.content ?? '').join('')

test('stream, with and without usage', options, async () => {
  for (const include_usage of [undefined, false, true]) {
    const body = { model: 'own/hard', messages, stream: true, ...(include_usage !== undefined && { stream_options: { include_usage } }) }
    const chunks = []
    for await (const c of await client.chat.completions.create(body)) chunks.push(c)
    assert.equal(contentOf(chunks), hard)
    assert.equal(new Set(chunks.map((c) => c.id)).size, 1)
    assert.ok(chunks.every((c) => c.object === 'chat.completion.chunk'))
    const reasons = chunks.map((c) => c.choices[0]?.finish_reason).filter(Boolean)
    assert.deepEqual(reasons, ['stop'])
    const usage = chunks.filter((c) => c.usage)
    if (!include_usage) {
      assert.deepEqual(usage, [])
      continue
    }
    assert.deepEqual(usage, chunks.slice(-1))
    assert.deepEqual(usage[0].choices, [])
    const { prompt_tokens, completion_tokens, total_tokens } = usage[0].usage
    assert.deepEqual([prompt_tokens, completion_tokens, total_tokens], [7, 1234, 1241])
  }
})

test('helper: final content, usage and tool calls', options, async () => {
  const stream = client.chat.completions.stream({ model: 'own/hard', messages, stream_options: { include_usage: true } })
  let content = ''
  stream.on('content', (delta) => (content += delta))
  assert.deepEqual([await stream.finalContent(), content], [hard, hard])
  assert.equal((await stream.totalUsage()).total_tokens, 1241)

  const tools = [{ type: 'function', function: { name: 'weather', parameters: { type: 'object', properties: {} } } }]
  const calling = client.chat.completions.stream({ model: 'own/tools', messages, tools })
  const done = []
  calling.on('tool_calls.function.arguments.done', (call) => done.push([call.index, call.name, call.arguments]))
  const { choices } = await calling.finalChatCompletion()
  assert.equal(choices[0].finish_reason, 'tool_calls')
  assert.deepEqual(choices[0].message.tool_calls.map((c) => [c.id, c.function.name, c.function.arguments]), [['call_weather', 'weather', city], ['call_time', 'time', city]])
  assert.deepEqual(done, [[0, 'weather', city], [1, 'time', city]])
})

test('without a stream, from a provider and from the demo', options, async () => {
  const whole = await client.chat.completions.create({ model: 'own/hard', messages })
  assert.deepEqual([whole.object, whole.choices[0].message.content, whole.choices[0].finish_reason, whole.usage.total_tokens], ['chat.completion', hard, 'stop', 1241])
  const calling = await client.chat.completions.create({ model: 'own/tools', messages })
  assert.deepEqual(calling.choices[0].message.tool_calls.map((c) => c.function.arguments), [city, city])

  const body = { model: 'demo', messages: [{ role: 'user', content: '日本語 and 👩‍👩‍👧' }], seed: 7, tokenrelay: { length: 60, rate: 2000 } }
  const demo = await client.chat.completions.create(body)
  assert.equal(await client.chat.completions.stream(body).finalContent(), demo.choices[0].message.content)
  assert.ok(demo.choices[0].message.content.length > 200)
})

test('models', options, async () => {
  const models = []
  for await (const model of client.models.list()) models.push(model)
  assert.ok(models.every((m) => m.object === 'model' && Number.isInteger(m.created) && m.owned_by), JSON.stringify(models))
  const ids = models.map((m) => m.id)
  for (const id of ['demo', 'own/hard']) {
    assert.ok(ids.includes(id), `${id} is not in ${ids}`)
    assert.deepEqual(await client.models.retrieve(id), models.find((m) => m.id === id))
  }
  await assert.rejects(client.models.retrieve('own/none'), (error) => error instanceof OpenAI.NotFoundError && error.code === 'model_not_found')
})

// Chat completions have no way to resume: a stream that is lost is an error, and
// the header that came before it names the session, which has all of it.
test('a connection that is lost is an error, and the session has the whole', options, async (t) => {
  t.diagnostic(`CONTRACT_SEED=${seed}`)
  const cutter = await Cutter.start({ port: relay.port, cuts: 30, place: (random) => random(700, 30_000), salt: 126 })
  t.after(() => cutter.close())
  const lossy = openai(cutter.url)
  const asked = provider.asked('hard')
  const sessions = []
  for (let n = 0; n < 30; n++) {
    const { data, response } = await lossy.chat.completions.create({ model: 'own/hard', messages, stream: true, tokenrelay: { unit: 'rune' } }).withResponse()
    const chunks = []
    await assert.rejects(async () => {
      for await (const c of data) chunks.push(c)
    }, (error) => isLost(error), `stream ${n}`)
    const content = contentOf(chunks)
    assert.ok(hard.startsWith(content) && content.length < hard.length)
    sessions.push([response.headers.get('x-tokenrelay-session'), chunks])
  }
  assert.equal(cutter.made, 30)
  assert.equal(provider.asked('hard'), asked + 30)
  await Promise.all(sessions.map(async ([id, chunks]) => {
    const seen = new Transcript()
    assert.equal(await follow(`${relay.url}/v1/sessions/${id}/events`, seen).closed, 204)
    assert.equal(seen.end.type, 'done')
    seen.isExactly(hard)
    // And with the SDK, by the id of the completion, which is the same.
    const whole = await client.chat.completions.retrieve(`chatcmpl-${id}`)
    assert.deepEqual([whole.id, whole.choices[0].message.content], [`chatcmpl-${id}`, hard])
    if (chunks.length) assert.equal(chunks[0].id, whole.id)
  }))
  const helper = openai(cutter.url)
  cutter.cuts++
  await assert.rejects(helper.chat.completions.stream({ model: 'own/hard', messages }).finalContent(), (error) => isLost(error) || isLost(error.cause))
})

for (const model of ['reset', 'ended']) {
  test(`a broken upstream (${model}) is an error, not a short answer, and nobody asks again`, options, async () => {
    const patient = openai(relay.url, { maxRetries: 2 })
    const broken = (error) => {
      assert.ok(error instanceof APIError, error.stack)
      assert.deepEqual([error.code, error.type], ['upstream_truncated', 'server_error'])
      return true
    }
    const chunks = []
    await assert.rejects(async () => {
      for await (const c of await patient.chat.completions.create({ model: `own/${model}`, messages, stream: true })) chunks.push(c)
    }, broken)
    assert.ok(contentOf(chunks).length > 0 && short.startsWith(contentOf(chunks)), contentOf(chunks))
    assert.ok(chunks.every((c) => c.choices[0].finish_reason === null))
    await assert.rejects(patient.chat.completions.stream({ model: `own/${model}`, messages }).finalContent(), broken)
    await assert.rejects(patient.chat.completions.create({ model: `own/${model}`, messages }), (error) => broken(error) && error.status === 502)
    assert.deepEqual([patient.sent.length, provider.asked(model)], [3, 3])
  })
}

test('what the provider refuses is asked for once, what may pass again, under a key once', options, async () => {
  const patient = openai(relay.url, { maxRetries: 1 })
  const cases = [
    ['refuses', 400, 'upstream_refused', 'invalid_request_error', OpenAI.BadRequestError, 1],
    ['limits', 429, 'upstream_rate_limited', 'rate_limit_error', OpenAI.RateLimitError, 2],
    ['overloaded', 503, 'upstream_overloaded', 'server_error', OpenAI.InternalServerError, 2],
  ]
  for (const [model, status, code, type, kind, asked] of cases) {
    const is = (want) => (error) => {
      assert.ok(error instanceof APIError, error.stack)
      assert.deepEqual([error.status, error.code, error.type], [want, code, want === 502 ? 'server_error' : type], model)
      assert.ok(want === 502 || error instanceof kind)
      return true
    }
    await assert.rejects(patient.chat.completions.create({ model: `own/${model}`, messages }), is(status))
    assert.equal(provider.asked(model), asked, model)
    const headers = { 'Idempotency-Key': `key of ${model}`.replaceAll(' ', '-') }
    await assert.rejects(patient.chat.completions.create({ model: `own/${model}`, messages }, { headers }), is(status === 400 ? 400 : 502))
    assert.equal(provider.asked(model), asked + 1, model)
  }
})

test('unknown fields reach the provider, and its own come back', options, async () => {
  const extra = { logit_bias: { 50256: -100 }, temperature: 0.5, seed: 42, x_ask: { deep: ['日本語', 1.5, null] }, logprobs: true, user: 'u' }
  const body = { model: 'own/own', messages: [{ role: 'developer', content: 'Be é.' }, ...messages], ...extra }
  const chunks = []
  for await (const c of await client.chat.completions.create({ ...body, stream: true, stream_options: { include_usage: true } })) chunks.push(c)
  const { messages: asked, model, ...rest } = provider.requests.findLast((b) => b.model === 'own')
  assert.deepEqual([model, asked], ['own', body.messages])
  for (const [name, value] of Object.entries(extra)) assert.deepEqual(rest[name], value, name)
  assert.equal('tokenrelay' in rest, false)

  assert.equal(contentOf(chunks), 'Hello 日本👩‍👩‍👧')
  for (const c of chunks.filter((c) => c.choices[0]?.delta.content)) {
    assert.deepEqual([c.system_fingerprint, c.service_tier, c.x_own], ['fp_own', 'flex', { queue: 'é 👍🏽' }])
    assert.deepEqual(c.choices[0].logprobs, logprobs(c.choices[0].delta.content))
  }
  assert.equal(chunks.at(-1).usage.prompt_tokens_details.cached_tokens, 2)

  const whole = await client.chat.completions.create(body)
  assert.deepEqual([whole.system_fingerprint, whole.service_tier, whole.x_own], ['fp_own', 'flex', { queue: 'é 👍🏽' }])
  assert.deepEqual(whole.choices[0].logprobs.content.map((l) => l.token), ['Hel', 'lo ', '日本', '👩‍👩‍👧'])
  assert.equal(whole.usage.prompt_tokens_details.cached_tokens, 2)
})

test('bad requests are the typed errors of the SDK', options, async (t) => {
  const alone = await Relay.start() // it has the demo only
  t.after(() => alone.stop())
  const patient = openai(relay.url, { maxRetries: 2 })
  await client.chat.completions.create({ model: 'own/short', messages }, { headers: { 'Idempotency-Key': 'one' } })
  const cases = [
    [{ model: 'demo', messages, n: 2 }, OpenAI.BadRequestError, 'unsupported_parameter', 'n'],
    [{ model: 'demo', messages: 'x' }, OpenAI.BadRequestError, 'invalid_field', 'messages'],
    [{ messages }, OpenAI.BadRequestError, 'invalid_field', 'model'],
    [{ model: 'own/hard', messages }, OpenAI.ConflictError, 'idempotency_key_reused', undefined],
  ]
  for (const [body, type, code, param] of cases) {
    const before = patient.sent.length
    await assert.rejects(patient.chat.completions.create(body, { headers: { 'Idempotency-Key': type === OpenAI.ConflictError ? 'one' : 'other' } }), (error) => {
      assert.ok(error instanceof type, `${JSON.stringify(body)}: ${error.stack}`)
      assert.deepEqual([error.code, error.param ?? undefined], [code, param], `${JSON.stringify(body)}: ${error.message}`)
      return true
    })
    assert.equal(patient.sent.length, before + 1, `${JSON.stringify(body)}: was asked again`)
  }
  await assert.rejects(openai(alone.url).chat.completions.create({ model: 'gpt-5', messages }), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError, error.stack)
    assert.deepEqual([error.code, error.param, error.type], ['model_not_found', 'model', 'invalid_request_error'])
    return true
  })
})
