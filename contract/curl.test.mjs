// curl, as the README shows it and as one looks at a wire with it.
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { after, test } from 'node:test'
import { chance, text } from './chance.mjs'
import { pieces, Provider, RESET } from './provider.mjs'
import { Relay, needs } from './relay.mjs'

const relay = await Relay.start()
after(() => relay.stop())

const options = { timeout: 30_000 }

/** Runs curl silently, and returns what it printed, as bytes. */
function curl(...args) {
  return new Promise((resolve, reject) => {
    execFile('curl', ['-sS', ...args], { encoding: 'buffer', maxBuffer: 1 << 26 }, (error, stdout) => (error ? reject(error) : resolve(stdout)))
  })
}

/** Splits what -i printed into status, headers and body. */
function parts(printed) {
  const at = printed.indexOf('\r\n\r\n')
  const [status, ...lines] = printed.subarray(0, at).toString().split('\r\n')
  const headers = Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 2)]))
  return { status: Number(status.split(' ')[1]), headers, body: printed.subarray(at + 4) }
}

/** Takes off the line that each stream begins with, which is no event. */
function withoutRetry(body) {
  const retry = 'retry: 10\n'
  assert.equal(body.subarray(0, retry.length).toString(), retry)
  return body.subarray(retry.length)
}

/** The events of a stream, each with its empty line. */
function eventsOf(body) {
  const events = []
  for (let at = 0; at < body.length; ) {
    const end = body.indexOf('\n\n', at) + 2
    assert.ok(end > 1, `bytes after the last event: ${body.subarray(at)}`)
    events.push(body.subarray(at, end))
    at = end
  }
  return events
}

test('the three lines of the README', options, async (t) => {
  if (!needs(t, 'curl')) return
  const created = JSON.parse(
    await curl(`${relay.url}/v1/sessions`, '-d', '{"source":{"type":"generate","prompt":"hello","seed":1,"length":40},"unit":"token","rate":200}'),
  )
  const events = relay.url + created.events_url
  const canonical = withoutRetry(await curl('-N', events))
  const all = eventsOf(canonical)
  assert.match(all[0].toString(), /^id: 1\nevent: session\ndata: \{"id":"/)
  assert.match(all.at(-1).toString(), /\nevent: done\n/)
  const n = 10
  const rest = withoutRetry(await curl('-N', '-H', `Last-Event-ID: ${n}`, events))
  assert.deepEqual(Buffer.concat([...all.slice(0, n), rest]), canonical)
})

test('resumes at every event, by header, after and startIndex', options, async (t) => {
  if (!needs(t, 'curl')) return
  const { id } = await relay.create({ source: { type: 'text', text: text(160, chance(40)) }, unit: 'token' })
  const events = `${relay.url}/v1/sessions/${id}/events`
  const canonical = withoutRetry(await curl('-N', events))
  const all = eventsOf(canonical)
  const last = all.length
  for (const [i, event] of all.entries()) assert.ok(event.toString().startsWith(`id: ${i + 1}\n`))
  const forms = {
    header: (k) => ['-H', `Last-Event-ID: ${k}`, events],
    'header over after': (k) => ['-H', `Last-Event-ID: ${k}`, `${events}?after=${(k + 3) % last}`],
    'header over startIndex': (k) => ['-H', `Last-Event-ID: ${k}`, `${events}?startIndex=${(k + 3) % last}`],
    after: (k) => [`${events}?after=${k}`],
    startIndex: (k) => [`${events}?startIndex=${k + 1}`],
  }
  // One curl for each form, over one connection.
  for (const [form, args] of Object.entries(forms)) {
    const commands = Array.from({ length: last }, (_, k) => [...args(k), '-w', '\x1e', '--next', '-sSN']).flat()
    const printed = await curl('-N', ...commands, ...args(last), '-w', '%{http_code}')
    const bodies = printed.toString('latin1').split('\x1e')
    assert.equal(bodies.pop(), '204', `${form}: the cursor of the terminal event`)
    assert.equal(bodies.length, last)
    for (const [k, body] of bodies.entries()) {
      const joined = Buffer.concat([...all.slice(0, k), withoutRetry(Buffer.from(body, 'latin1'))])
      assert.ok(joined.equals(canonical), `${form}: the first ${k} events and what follows them are not the whole`)
    }
  }
  t.diagnostic(`${last} cuts, each resumed in ${Object.keys(forms).length} ways`)
  const first = withoutRetry(await curl(`${events}?startIndex=0`))
  assert.ok(first.equals(canonical), 'startIndex=0')
})

test('the head, and the frames on the wire', options, async (t) => {
  if (!needs(t, 'curl')) return
  const { id } = await relay.create({ source: { type: 'text', text: text(100, chance(41)) }, unit: 'rune', rate: 500 })
  const answer = parts(await curl('-iN', '--raw', `${relay.url}/v1/sessions/${id}/events`))
  assert.equal(answer.status, 200)
  const { headers } = answer
  assert.equal(headers['content-type'], 'text/event-stream; charset=utf-8')
  assert.equal(headers['cache-control'], 'no-store, no-transform')
  assert.equal(headers['x-accel-buffering'], 'no')
  assert.equal(headers['content-length'], undefined)
  assert.equal(headers['content-encoding'], undefined)
  assert.equal(headers['transfer-encoding'], 'chunked')
  // Each write holds whole events: no reader ever waits in the middle of one.
  const chunks = []
  for (let rest = answer.body; ; ) {
    const line = rest.indexOf('\r\n')
    const size = parseInt(rest.subarray(0, line).toString(), 16)
    if (size === 0) break
    chunks.push(rest.subarray(line + 2, line + 2 + size).toString())
    rest = rest.subarray(line + 2 + size + 2)
  }
  assert.match(chunks[0], /^retry: 10\nid: 1\nevent: session\n/)
  for (const chunk of chunks) assert.ok(chunk.endsWith('\n\n'), `a chunk ends in mid-event: ${JSON.stringify(chunk)}`)
  assert.ok(chunks.length >= 20, `chunks = ${chunks.length}: events do not go out as they come`)
  assert.equal(chunks.join('').split('retry:').length, 2, 'retry comes once')
})

test('asks for no compression that would hold events back', options, async (t) => {
  if (!needs(t, 'curl')) return
  const { id } = await relay.create({ source: { type: 'text', text: 'x'.repeat(5000) }, unit: 'token' })
  const answer = parts(await curl('-i', '--compressed', `${relay.url}/v1/sessions/${id}/events`))
  assert.equal(answer.headers['content-encoding'], undefined)
})

test('format=text for the eye', options, async (t) => {
  if (!needs(t, 'curl')) return
  const { id } = await relay.create({ source: { type: 'text', text: 'one two\n three\r\n👩‍👩‍👧\n' }, unit: 'line' })
  const events = `${relay.url}/v1/sessions/${id}/events`
  const all = eventsOf(withoutRetry(await curl('-N', `${events}?format=text`))).map(String)
  assert.match(all[0], /^id: 1\nevent: session\ndata: \{/)
  assert.deepEqual(all.slice(1, 4), [
    'id: 2\ndata: one two\ndata: \n\n',
    'id: 3\ndata:  three\ndata: \n\n',
    'id: 4\ndata: 👩‍👩‍👧\ndata: \n\n',
  ])
  assert.match(all[4], /^id: 5\nevent: done\ndata: \{/)
  const rest = withoutRetry(await curl('-N', '-H', 'Last-Event-ID: 3', `${events}?format=text`))
  assert.equal(rest.toString(), all.slice(3).join(''))
  assert.equal(String(await curl(`${relay.url}/v1/sessions/${id}/text`)), 'one two\n three\r\n👩‍👩‍👧\n')
})

test('errors are problem documents', options, async (t) => {
  if (!needs(t, 'curl')) return
  const { id } = await relay.create({ source: { type: 'text', text: 'over' }, unit: 'rune' })
  await relay.ended(id)
  const push = await relay.create({ source: { type: 'push' }, unit: 'rune' })
  const gone = await relay.create({ source: { type: 'push' }, unit: 'rune' })
  await relay.must('DELETE', `/v1/sessions/${gone.id}`)
  const at = (path) => `${relay.url}/v1/sessions${path}`
  const cases = [
    [400, 'malformed_cursor', ['-H', 'Last-Event-ID: x', at(`/${id}/events`)]],
    [400, 'malformed_cursor', ['-H', 'Last-Event-ID: -1', at(`/${id}/events`)]],
    [400, 'malformed_cursor', [at(`/${id}/events?after=1.5`)]],
    [400, 'malformed_cursor', [at(`/${id}/events?startIndex=`)]],
    [400, 'malformed_cursor', [at(`/${id}/events?after=9007199254740992`)]],
    [400, 'invalid_parameter', [at(`/${id}/events?aftr=1`)]],
    [400, 'invalid_parameter', [at(`/${id}/events?after=1&startIndex=2`)]],
    [404, 'session_not_found', [at('/nosuchsession/events')]],
    [404, 'session_not_found', [at('/aaaaaaaaaaaaaaaaaaaaaaaaaa/events')]],
    [410, 'session_deleted', [at(`/${gone.id}/events`)]],
    [416, 'cursor_ahead', ['-H', 'Last-Event-ID: 99', at(`/${id}/events`)]],
    [409, 'session_ended', ['-d', '{}', at(`/${id}/pause`)]],
    [409, 'not_a_push_session', ['-d', '{"text":"x"}', at(`/${(await relay.create({ source: { type: 'generate', prompt: 'x', length: 100000 }, unit: 'rune', rate: 1 })).id}/append`)]],
    [409, 'append_out_of_order', ['-d', '{"text":"x","producer":"p","seq":2}', at(`/${push.id}/append`)]],
    [400, 'invalid_field', ['-d', '{"event":"done","data":{}}', at(`/${push.id}/append`)]],
    [413, 'event_too_large', ['-d', JSON.stringify({ event: 'big', data: 'x'.repeat(62_000) }), at(`/${push.id}/append`)]],
    [400, 'malformed_json', ['-d', '{"source":', at('')]],
    [400, 'unknown_field', ['-d', '{"sauce":{}}', at('')]],
    [400, 'invalid_field', ['-d', '{}', at('')]],
    [400, 'invalid_utf8', ['-d', '{"text":"\\ud83d"}', at(`/${push.id}/append`)]],
    [405, 'method_not_allowed', ['-X', 'PUT', at(`/${id}`)]],
    [404, 'route_not_found', [at(`/${id}/nothing`)]],
  ]
  for (const [status, code, args] of cases) {
    const answer = parts(await curl('-i', ...args))
    const what = `${code} of curl ${args.join(' ').slice(0, 120)}`
    const problem = JSON.parse(answer.body)
    assert.deepEqual({ status: answer.status, code: problem.code }, { status, code }, what)
    assert.equal(answer.headers['content-type'], 'application/problem+json', what)
    assert.equal(answer.headers['cache-control'], 'no-store', what)
    assert.equal(problem.status, status, what)
    assert.ok(problem.title && problem.detail, what)
    if (code === 'cursor_ahead') assert.equal(problem.last_event_id, 6)
    if (code === 'append_out_of_order') assert.equal(problem.expected_seq, 1)
  }
})

test('a line that the relay breaks off is not a clean end', options, async (t) => {
  if (!needs(t, 'curl')) return
  const relay = await Relay.start('--drain=50ms')
  const { id } = await relay.create({ source: { type: 'push' }, unit: 'rune' })
  const reader = spawn('curl', ['-sSN', `${relay.url}/v1/sessions/${id}/events`], { stdio: ['ignore', 'pipe', 'pipe'] })
  const closed = once(reader, 'close')
  await once(reader.stdout, 'data')
  await relay.stop()
  const [code] = await closed
  assert.ok(code === 18 || code === 56, `exit code of curl = ${code}, want 18 (partial file) or 56 (reset)`)
})

test('an upstream that breaks off is an event, and a clean end of the line', options, async (t) => {
  if (!needs(t, 'curl')) return
  const want = text(200, chance(12))
  const provider = await Provider.start({
    *broken() {
      yield* pieces(want, chance(13))
      yield RESET
    },
  })
  t.after(() => provider.close())
  const relay = await Relay.start('--upstream', `name=own,base_url=${provider.url}/v1`)
  t.after(() => relay.stop())
  const { events_url } = await relay.create({ source: { type: 'upstream', model: 'own/broken', messages: [{ role: 'user', content: 'x' }] }, unit: 'rune' })
  const all = eventsOf(withoutRetry(await curl('-N', relay.url + events_url)))
  assert.match(all.at(-1).toString(), /\nevent: failed\ndata: \{.*"code":"upstream_truncated"/)
})
