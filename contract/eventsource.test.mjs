// npm eventsource 4.1.1, unmodified, in the ways that pages use EventSource.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { EventSource } from 'eventsource'
import { chance, seed, text } from './chance.mjs'
import { Cutter } from './cutter.mjs'
import { Relay } from './relay.mjs'
import { follow, Transcript } from './transcript.mjs'

const relay = await Relay.start()
after(() => relay.stop())

const options = { timeout: 30_000 }

test('reads a session and goes away at 204', options, async () => {
  const want = text(2000, chance(1))
  const { id } = await relay.create({ source: { type: 'text', text: want }, unit: 'token' })
  const seen = new Transcript()
  const source = follow(`${relay.url}/v1/sessions/${id}/events`, seen)
  assert.equal(await source.closed, 204)
  assert.equal(source.readyState, EventSource.CLOSED)
  assert.equal(source.reconnects, 1) // after the end, to be told to go away
  assert.equal(seen.events[0].type, 'session')
  assert.equal(seen.events.at(-1).type, 'done')
  assert.equal(seen.end.data.reason, 'stop')
  seen.isExactly(want)
})

// The page that this project began with: Pause closes the line, Continue asks
// for the next id.
test('the typewriter: pause is close, continue is startIndex', options, async (t) => {
  const random = chance(2)
  t.diagnostic(`CONTRACT_SEED=${seed}`)
  const want = text(1200, random)
  const { id } = await relay.create({ source: { type: 'text', text: want }, unit: 'rune', rate: 1000 })
  const seen = new Transcript()
  let n = 0
  let pauses = 0
  while (!seen.end) {
    const source = new EventSource(`${relay.url}/v1/sessions/${id}/events?startIndex=${n}`)
    let typed = ''
    const draw = (event) => {
      if (source.readyState === EventSource.CLOSED) return // paused
      n = Number(event.lastEventId) + 1
      seen.add({ type: event.type, id: event.lastEventId, data: event.data })
      if (event.type === 'message') typed += JSON.parse(event.data).text
    }
    source.onmessage = draw
    source.addEventListener('session', draw)
    source.addEventListener('done', draw)
    const pauseAt = seen.last + random(1, 40)
    await seen.until((s) => s.end || s.last >= pauseAt, `event ${pauseAt}`)
    source.close()
    assert.ok(want.includes(typed))
    if (!seen.end) pauses++
  }
  t.diagnostic(`${pauses} pauses, ${seen.events.length} events, ${seen.lost} lost, ${seen.repeated} repeated`)
  assert.ok(pauses >= 20, `pauses = ${pauses}, want at least 20`)
  seen.isExactly(want)
  // Continue after the end is answered too.
  const closed = follow(`${relay.url}/v1/sessions/${id}/events?startIndex=${n}`, seen).closed
  assert.equal(await closed, 204)
  seen.isExactly(want)
})

for (const [what, rate] of [['while it is written', 1500], ['once it has ended', 0]]) {
  test(`comes back by itself after 60 cuts of a session ${what}`, options, async (t) => {
    const salt = 3 + Number(rate === 0)
    t.diagnostic(`CONTRACT_SEED=${seed}`)
    const want = text(4000, chance(salt))
    const { id } = await relay.create({ source: { type: 'text', text: want }, unit: 'rune', rate })
    // The first line stays until retry has come: the client's own is 3 s.
    const cutter = await Cutter.start({ port: relay.port, cuts: 60, place: (random, n) => random(n ? 1 : 400, 2000), salt })
    t.after(() => cutter.close())
    const seen = new Transcript()
    // It repeats its URL with each Last-Event-ID, which has to win.
    const source = follow(`${cutter.url}/v1/sessions/${id}/events?startIndex=0`, seen)
    assert.equal(await source.closed, 204)
    t.diagnostic(
      `${cutter.made} cuts, ${cutter.inEvent} of them in mid-event, ${seen.events.length} events, ${seen.lost} lost, ${seen.repeated} repeated`,
    )
    assert.ok(cutter.made >= 50, `cuts = ${cutter.made}, want at least 50`)
    assert.ok(cutter.inEvent >= 25, `cuts in mid-event = ${cutter.inEvent}, want at least 25`)
    assert.equal(seen.end.type, 'done')
    seen.isExactly(want)
  })
}

test('comes back by itself after a kill -9 and a restart', options, async (t) => {
  t.diagnostic(`CONTRACT_SEED=${seed}`)
  const relay = await Relay.start()
  t.after(() => relay.stop())
  const random = chance(5)
  const want = text(1200, random)
  const { id } = await relay.create({ source: { type: 'text', text: want }, unit: 'rune', rate: 1000 })
  const seen = new Transcript()
  const source = follow(`${relay.url}/v1/sessions/${id}/events`, seen)
  const at = random(20, 600)
  await seen.until((s) => s.last >= at, `event ${at}`)
  await relay.restart()
  assert.equal((await seen.ended()).type, 'done')
  assert.equal(await source.closed, 204)
  t.diagnostic(`killed at event ${at}, ${source.reconnects} reconnects, ${seen.events.length} events, ${seen.lost} lost, ${seen.repeated} repeated`)
  assert.ok(source.reconnects >= 2) // over the restart, and after the end
  seen.isExactly(want)
})

test('keep-alives as events do not move the cursor', options, async (t) => {
  const relay = await Relay.start('--keep-alive=20ms')
  t.after(() => relay.stop())
  const { id } = await relay.create({ source: { type: 'push' }, unit: 'delta' })
  const cutter = await Cutter.start({ port: relay.port })
  t.after(() => cutter.close())
  const seen = new Transcript()
  const source = follow(`${cutter.url}/v1/sessions/${id}/events?ping=event`, seen)
  const pings = []
  const pinged = () => new Promise((resolve) => source.addEventListener('ping', (e) => resolve(pings.push(JSON.parse(e.data))), { once: true }))
  await relay.command(id, 'append', { text: 'one ' })
  await seen.until((s) => s.last === 2, 'first text')
  await pinged()
  for (const socket of cutter.open) socket.resetAndDestroy() // just after a ping
  await relay.command(id, 'append', { text: 'two ' })
  await seen.until((s) => s.last === 3, 'second text')
  await pinged()
  await relay.command(id, 'finish')
  assert.equal(await source.closed, 204)
  assert.deepEqual(pings, [{ last_event_id: 2 }, { last_event_id: 3 }])
  assert.ok(source.reconnects >= 2)
  seen.isExactly('one two ')
})

test('sees pause and resume of the session, and stop', options, async () => {
  const { id } = await relay.create({ source: { type: 'generate', prompt: 'a long story', seed: 7, length: 5000 }, unit: 'token', rate: 500 })
  const seen = new Transcript()
  const source = follow(`${relay.url}/v1/sessions/${id}/events`, seen)
  await seen.until((s) => s.last > 10, 'ten events')
  await relay.command(id, 'pause')
  await seen.until((s) => s.events.at(-1).type === 'paused', 'paused')
  const held = seen.last
  assert.equal((await relay.session(id)).last_event_id, held)
  await relay.command(id, 'resume')
  await seen.until((s) => s.last > held + 10, 'ten events more')
  assert.equal(seen.events[held].type, 'resumed')
  await relay.command(id, 'stop')
  assert.equal((await seen.ended()).type, 'stopped')
  assert.equal(await source.closed, 204)
  seen.isExactly()
})

// The events of another protocol have ids too: it resumes by them, and 204 tells
// it that there are no more.
test('reads a response of OpenAI under 60 cuts', options, async (t) => {
  t.diagnostic(`CONTRACT_SEED=${seed}`)
  const want = text(1500, chance(6))
  const { id } = await relay.create({ source: { type: 'text', text: want }, unit: 'rune', rate: 1500 })
  const cutter = await Cutter.start({ port: relay.port, cuts: 60, place: (random, n) => random(n ? 1 : 400, 6000), salt: 6 })
  t.after(() => cutter.close())
  const events = []
  const part = (name) => ['added', 'done'].map((when) => `response.${name}.${when}`)
  const types = [
    ...['created', 'queued', 'in_progress', 'completed', 'incomplete', 'failed'].map((state) => `response.${state}`),
    ...part('output_item'), ...part('content_part'), 'response.output_text.delta', 'response.output_text.done',
  ]
  const source = new EventSource(`${cutter.url}/v1/responses/resp_${id}?stream=true`)
  t.after(() => source.close())
  for (const type of types) source.addEventListener(type, (e) => events.push({ type: e.type, id: e.lastEventId, data: JSON.parse(e.data) }))
  const status = await new Promise((resolve) => {
    source.addEventListener('error', (e) => source.readyState === EventSource.CLOSED && resolve(e.code))
  })
  t.diagnostic(`${cutter.made} cuts, ${cutter.inEvent} of them in mid-event, ${events.length} events`)
  assert.equal(status, 204)
  assert.ok(cutter.made >= 50, `cuts = ${cutter.made}, want at least 50`)
  assert.deepEqual(events.map((e) => e.id), [...events.keys()].map(String))
  assert.deepEqual(events.map((e) => [e.data.type, e.data.sequence_number]), events.map((e, i) => [e.type, i]))
  assert.equal(events.at(-1).type, 'response.completed')
  assert.equal(events.map((e) => (e.type === 'response.output_text.delta' ? e.data.delta : '')).join(''), want)
})
