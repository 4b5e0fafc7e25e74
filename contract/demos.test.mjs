// What server-sent events were first shown with: a timer, and a chat.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { after, test } from 'node:test'
import { chance, seed } from './chance.mjs'
import { Cutter } from './cutter.mjs'
import { LIMIT, Relay, needs } from './relay.mjs'
import { follow, Transcript } from './transcript.mjs'

const relay = await Relay.start('--keep-alive=1s', '--retry=30ms')
after(() => relay.stop())

const options = { timeout: 30_000 }

test('a timer: curl appends each tick, EventSource and curl see it', options, async (t) => {
  if (!needs(t, 'curl')) return
  const { id } = await relay.create({ source: { type: 'push' }, unit: 'delta' })
  const url = `${relay.url}/v1/sessions/${id}`

  const seen = new Transcript()
  const source = follow(`${url}/events`, seen, ['tick'])
  const watcher = spawn('curl', ['-sSN', `${url}/events`], { stdio: ['ignore', 'pipe', 'inherit'] })
  const watched = once(watcher, 'close')
  let wire = ''
  watcher.stdout.setEncoding('utf8').on('data', (data) => {
    wire += data
    watcher.emit('wire')
  })

  // The producer is a loop of the shell that ticks when it is told to.
  const producer = spawn('sh', ['-c', `
    while read -r n; do
      curl -sSf "$0/append" -d "{\\"event\\":\\"tick\\",\\"data\\":{\\"n\\":$n},\\"producer\\":\\"timer\\",\\"seq\\":$n}" || exit 1
    done
    curl -sSf -X POST "$0/finish"`, url], { stdio: ['pipe', 'ignore', 'inherit'] })
  const produced = once(producer, 'close')
  const tick = async (n) => {
    producer.stdin.write(`${n}\n`)
    await seen.until((s) => s.events.some((e) => e.type === 'tick' && e.data.n === n), `tick ${n}`)
  }

  for (let n = 1; n <= 5; n++) await tick(n)
  // Silence: the line is kept alive, and nobody takes that for a tick.
  while (!/"n":5\}\n\n: ka\n/.test(wire)) await once(watcher, 'wire', { signal: AbortSignal.timeout(LIMIT) })
  for (let n = 6; n <= 10; n++) await tick(n)
  producer.stdin.end()
  assert.equal((await produced)[0], 0)
  assert.equal(await source.closed, 204)
  assert.equal((await watched)[0], 0)

  seen.isExactly('')
  assert.deepEqual(
    seen.events.filter((e) => e.type === 'tick').map((e) => ({ id: e.id, n: e.data.n })),
    Array.from({ length: 10 }, (_, i) => ({ id: i + 2, n: i + 1 })),
  )
  assert.equal(seen.end.data.reason, 'finish')

  assert.ok(wire.startsWith('retry: 30\nid: 1\nevent: session\n'), wire.slice(0, 60))
  assert.ok(wire.includes('\nid: 3\nevent: tick\ndata: {"n":2}\n\n'))
  // Between whole events, with no empty line of its own.
  assert.match(wire, /\n\n(: ka\n)+id: 7\nevent: tick\ndata: \{"n":6\}\n\n/)
  assert.deepEqual((await relay.session(id)).producers, { timer: 10 })
})

test('a chat: two write, three read the same', options, async (t) => {
  t.diagnostic(`CONTRACT_SEED=${seed}`)
  const random = chance(60)
  const { id } = await relay.create({ source: { type: 'push' }, unit: 'delta' })
  const path = `/v1/sessions/${id}/events`
  const cutter = await Cutter.start({ port: relay.port, cuts: 10, place: (random, n) => random(n ? 1 : 400, 1500), salt: 61 })
  t.after(() => cutter.close())

  const seen = [new Transcript(), new Transcript(), new Transcript()]
  const readers = [follow(relay.url + path, seen[0]), follow(cutter.url + path, seen[1])]
  const people = ['Ana', 'Bó']
  const each = 60
  let repeats = 0
  const write = async (from) => {
    for (let seq = 1; seq <= each; seq++) {
      const message = { event: 'message', data: { from, n: seq, text: `${from} says\n${seq} 👋` }, producer: from, seq }
      const { last_event_id: last } = await relay.command(id, 'append', message)
      if (random(1, 4) > 1) continue
      // As after an answer that was lost.
      const again = await relay.command(id, 'append', message)
      assert.equal(again.repeated, true)
      assert.ok(again.last_event_id >= last)
      repeats++
    }
  }
  const late = seen[0].until((s) => s.last > each, 'half of the messages').then(() => readers.push(follow(relay.url + path, seen[2])))
  await Promise.all([...people.map(write), late])
  const gap = await relay.ask('POST', `/v1/sessions/${id}/append`, { event: 'message', data: {}, producer: people[0], seq: each + 2 })
  assert.deepEqual([gap.status, gap.body.code, gap.body.expected_seq], [409, 'append_out_of_order', each + 1])
  await relay.command(id, 'finish')
  for (const reader of readers) assert.equal(await reader.closed, 204)
  t.diagnostic(
    `${people.length * each} messages, ${repeats} sent twice; ${cutter.made} cuts of one reader, ${seen[1].lost} lost, ${seen[1].repeated} repeated`,
  )

  for (const one of seen) one.isExactly()
  const messages = seen.map((one) => one.events.filter((e) => e.type === 'message'))
  assert.equal(messages[0].length, people.length * each)
  assert.deepEqual(messages[1], messages[0])
  assert.deepEqual(messages[2], messages[0])
  for (const from of people) {
    const own = messages[0].filter((e) => e.data.from === from)
    assert.deepEqual(own.map((e) => e.data.n), Array.from({ length: each }, (_, i) => i + 1))
    assert.equal(own[0].data.text, `${from} says\n1 👋`)
  }
  assert.ok(cutter.made >= 5, `cuts = ${cutter.made}, want at least 5`)
})
