// npm eventsource-parser 3.1.1 over fetch: the client that a program writes for
// itself, with Last-Event-ID and no other help.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { createParser } from 'eventsource-parser'
import { EventSourceParserStream } from 'eventsource-parser/stream'
import { chance, seed, text } from './chance.mjs'
import { Cutter } from './cutter.mjs'
import { pieces, Provider, RESET } from './provider.mjs'
import { Relay } from './relay.mjs'
import { Transcript } from './transcript.mjs'

const relay = await Relay.start()
after(() => relay.stop())

const options = { timeout: 30_000 }

/** Reads until 204, and returns how often it came back. */
async function readAll(url, seen, read) {
  for (let connections = 0; ; connections++) {
    try {
      const answer = await fetch(url, { headers: seen.last ? { 'Last-Event-ID': String(seen.last) } : {} })
      if (answer.status === 204) return connections
      assert.equal(answer.status, 200)
      await read(answer.body)
    } catch (error) {
      if (!(error instanceof TypeError)) throw error // which is what fetch says of a network
    }
  }
}

const ways = {
  async createParser(body, seen) {
    const parser = createParser({
      onEvent: (e) => seen.add({ type: e.event ?? 'message', id: e.id, data: e.data }),
      onError: (error) => assert.fail(`not an event stream: ${error}`),
    })
    const decoder = new TextDecoder()
    for await (const chunk of body) parser.feed(decoder.decode(chunk, { stream: true }))
  },
  async EventSourceParserStream(body, seen) {
    const events = body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream({ onError: 'terminate' }))
    for await (const e of events) seen.add({ type: e.event ?? 'message', id: e.id, data: e.data })
  },
}

for (const [salt, [name, read]] of Object.entries(ways).entries()) {
  test(`${name} is exact over 60 cuts`, options, async (t) => {
    t.diagnostic(`CONTRACT_SEED=${seed}`)
    const want = text(4000, chance(20 + salt))
    const { id } = await relay.create({ source: { type: 'text', text: want }, unit: 'grapheme', rate: 1500 })
    const cutter = await Cutter.start({ port: relay.port, cuts: 60, place: (random) => random(1, 2000), salt: 20 + salt })
    t.after(() => cutter.close())
    const seen = new Transcript()
    const connections = await readAll(`${cutter.url}/v1/sessions/${id}/events`, seen, (body) => read(body, seen))
    t.diagnostic(
      `${cutter.made} cuts, ${cutter.inEvent} of them in mid-event, ${connections} connections, ${seen.events.length} events, ${seen.lost} lost, ${seen.repeated} repeated`,
    )
    assert.ok(cutter.made >= 50, `cuts = ${cutter.made}, want at least 50`)
    assert.equal(seen.end.type, 'done')
    seen.isExactly(want)
  })
}

test('a broken upstream is a typed event, to who comes later too', options, async (t) => {
  t.diagnostic(`CONTRACT_SEED=${seed}`)
  const want = text(300, chance(25))
  const provider = await Provider.start({
    *broken() {
      yield* pieces(want, chance(26))
      yield RESET
    },
  })
  t.after(() => provider.close())
  const relay = await Relay.start('--upstream', `name=own,base_url=${provider.url}/v1`)
  t.after(() => relay.stop())
  const { id } = await relay.create({ source: { type: 'upstream', model: 'own/broken', messages: [{ role: 'user', content: 'x' }] }, unit: 'rune' })
  const transcripts = []
  for (const read of Object.values(ways)) {
    const seen = new Transcript()
    await readAll(`${relay.url}/v1/sessions/${id}/events`, seen, (body) => read(body, seen))
    seen.isExactly()
    assert.ok(want.startsWith(seen.text), seen.text)
    assert.deepEqual([seen.end.type, seen.end.data.reason, seen.end.data.error.code], ['failed', 'error', 'upstream_truncated'])
    transcripts.push(seen.events)
  }
  assert.deepEqual(transcripts[1], transcripts[0])
})
