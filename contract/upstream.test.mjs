// @copilotkit/aimock 1.43.0 as a provider of models that we did not write: how
// sessions deal with it. What it says is the matter of dialects.test.mjs.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { LLMock } from '@copilotkit/aimock'
import { seed } from './chance.mjs'
import { Cutter } from './cutter.mjs'
import { Relay } from './relay.mjs'
import { follow, Transcript } from './transcript.mjs'

const options = { timeout: 30_000 }

const unicode = 'naïve café 👩‍👩‍👧 日本語 🏳️‍🌈👍🏽 𝒳𝒴 "\\ud83d" \\ 🇩🇪🇫🇷 cafe\u0301\r\nend 😀'
const story = Array.from({ length: 400 }, (_, i) => `sentence ${i} 🙂 `).join('')

const mock = new LLMock({ host: '127.0.0.1', port: 0, strict: true, logLevel: 'silent' })
mock.addFixturesFromJSON([
  { match: { userMessage: 'unicode' }, response: { content: unicode }, chunkSize: 1 },
  { match: { userMessage: 'story' }, response: { content: story }, chunkSize: 9, streamingProfile: { ttft: 20, tps: 400, jitter: 0.2 } },
])
await mock.start()
const watch = await Cutter.start({ port: mock.port })
const relay = await Relay.start(
  '--upstream', `name=aimock,base_url=${mock.url}/v1,model=gpt-4o`,
  '--upstream', `name=watched,base_url=${watch.url}/v1`,
)
after(async () => {
  await relay.stop()
  await watch.close()
  await mock.stop()
})

/** Creates a session of what the model answers, and follows it. */
async function ask(content, spec = {}, { model = 'gpt-4o', at = relay } = {}) {
  const created = await at.create({ source: { type: 'upstream', model, messages: [{ role: 'user', content }] }, unit: 'token', ...spec })
  const seen = new Transcript()
  const source = follow(`${at.url}${created.events_url}`, seen)
  return { id: created.id, seen, source }
}

test('a provider that is not there', options, async (t) => {
  const nobody = await Cutter.start({ port: 1 })
  await nobody.close()
  const relay = await Relay.start('--upstream', `name=nobody,base_url=${nobody.url}/v1`)
  t.after(() => relay.stop())
  const { seen, source } = await ask('hello', {}, { model: 'nobody/m', at: relay })
  assert.equal(await source.closed, 204)
  assert.deepEqual([seen.end.type, seen.end.data.error.code], ['failed', 'upstream_unreachable'])
})

// A terminal state is never invented: done means that all is there.
test('a line to the provider that is reset at random bytes', options, async (t) => {
  t.diagnostic(`CONTRACT_SEED=${seed}`)
  let size = 0
  watch.onData = (data) => (size += data.length)
  await (await ask('unicode', {}, { model: 'watched/gpt-4o' })).seen.ended()
  // Some in the head, which are asked for again, some behind the reason of the
  // end, most between them.
  const runs = 50
  const place = (random, n) => [random(1, 150), random(size - 150, size - 1)][n] ?? random(1, size - 1)
  const cutter = await Cutter.start({ port: mock.port, cuts: runs, place, salt: 81 })
  t.after(() => cutter.close())
  const relay = await Relay.start('--upstream', `name=cut,base_url=${cutter.url}/v1`)
  t.after(() => relay.stop())
  const states = {}
  for (let run = 0; run < runs; run++) {
    const { seen, source } = await ask('unicode', { unit: 'grapheme' }, { model: 'cut/gpt-4o', at: relay })
    assert.equal(await source.closed, 204)
    const { type, data } = seen.end
    const state = type === 'done' ? type : data.error.code
    states[state] = (states[state] ?? 0) + 1
    seen.isExactly()
    if (state === 'done') assert.equal(seen.text, unicode)
    else {
      assert.deepEqual([type, state], ['failed', 'upstream_truncated'])
      assert.ok(unicode.startsWith(seen.text), `text = ${JSON.stringify(seen.text)}`)
    }
  }
  t.diagnostic(`${cutter.made} cuts: ${JSON.stringify(states)}`)
  assert.ok(states.upstream_truncated >= runs / 2)
  assert.ok(states.done >= 2)
})

test('pause holds the text while the provider writes on; resume loses none', options, async () => {
  let ended
  const whole = new Promise((resolve) => (ended = resolve))
  watch.onData = (data) => data.includes('data: [DONE]') && ended()
  const { id, seen, source } = await ask('story', { unit: 'grapheme' }, { model: 'watched/gpt-4o' })
  await seen.until((s) => s.last > 200, '200 events')
  const paused = await relay.command(id, 'pause')
  assert.equal(paused.state, 'paused')
  await whole // the provider has said all, and the relay has had the time to show it
  assert.equal((await relay.session(id)).last_event_id, paused.last_event_id)
  assert.equal(seen.last, paused.last_event_id)
  assert.equal(seen.events.at(-1).type, 'paused')
  const before = seen.text
  assert.ok(before.length < story.length && story.startsWith(before))

  // Somebody who comes in the meantime gets what there is, and no more.
  const late = new Transcript()
  const lateSource = follow(`${relay.url}/v1/sessions/${id}/events`, late)
  await late.until((s) => s.last === paused.last_event_id, 'what there is')

  const resumed = await relay.command(id, 'resume')
  assert.notEqual(resumed.state, 'paused')
  await seen.until((s) => s.last > paused.last_event_id + 1, 'what follows')
  const [again, next] = seen.events.slice(paused.last_event_id)
  assert.deepEqual([again.type, next.type], ['resumed', 'message'])
  assert.equal(next.data.text, [...new Intl.Segmenter('en').segment(story.slice(before.length))][0].segment)
  assert.equal(await source.closed, 204)
  assert.equal(await lateSource.closed, 204)
  assert.equal(seen.end.type, 'done')
  seen.isExactly(story)
  late.isExactly(story)
})

test('stop lets go of the provider', options, async () => {
  const { id, seen, source } = await ask('story', {}, { model: 'watched/gpt-4o' })
  await seen.until((s) => s.last > 20, '20 events')
  const [line] = [...watch.open].filter((socket) => socket.localPort === watch.server.address().port)
  const closed = new Promise((resolve) => line.once('close', resolve))
  const left = watch.left
  const stopped = await relay.command(id, 'stop')
  assert.equal(stopped.state, 'stopped')
  await closed
  assert.equal(watch.left, left + 1, 'the relay closes the line, not the provider')
  assert.deepEqual([(await seen.ended()).type, seen.end.data.reason], ['stopped', 'stop_requested'])
  assert.equal(await source.closed, 204)
  assert.ok(seen.text.length < story.length && story.startsWith(seen.text))
  seen.isExactly()
  const again = await relay.command(id, 'stop') // which changes nothing
  assert.equal(again.last_event_id, stopped.last_event_id)
})

// The provider can only be asked from its start: what came stays, and its end is no done.
test('a restart interrupts an answer, and tells why', options, async (t) => {
  const relay = await Relay.start('--upstream', `name=aimock,base_url=${mock.url}/v1`)
  t.after(() => relay.stop())
  const { id, seen, source } = await ask('story', { unit: 'grapheme' }, { model: 'aimock/gpt-4o', at: relay })
  await seen.until((s) => s.last > 50, '50 events')
  await relay.restart()
  assert.equal(await source.closed, 204)
  const { type, data } = seen.end
  assert.deepEqual([type, data.reason, data.error.code], ['interrupted', 'restart', 'not_continuable'])
  assert.ok(seen.text.length < story.length && story.startsWith(seen.text))
  seen.isExactly()
  const { state, reason, error } = await relay.session(id)
  assert.deepEqual({ state, reason, error }, { state: 'interrupted', reason: data.reason, error: data.error })
})

// Pause is a promise: what had not been shown by then comes after resume, or
// not at all. One line and no end of it: the relay has all of it to hold.
test('stop of a paused session shows nothing of what was held', options, async () => {
  let passed = 0
  const some = new Promise((resolve) => (watch.onData = (data) => (passed += data.length) > 10_000 && resolve()))
  const { id, seen, source } = await ask('story', { unit: 'line' }, { model: 'watched/gpt-4o' })
  await some
  const paused = await relay.command(id, 'pause')
  const stopped = await relay.command(id, 'stop')
  assert.equal(stopped.state, 'stopped')
  assert.equal(await source.closed, 204)
  assert.deepEqual(seen.events.map((e) => e.type), ['session', 'paused', 'stopped'], JSON.stringify(seen.events))
  assert.equal(paused.last_event_id, 2)
  seen.isExactly('')
})
