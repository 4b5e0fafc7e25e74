// npm @ai-sdk/workflow 2.0.43, unmodified, under the chat class of useChat:
// WorkflowChatTransport, which counts chunks and comes back by itself.
import assert from 'node:assert/strict'
import { after, beforeEach, test } from 'node:test'
import { WorkflowChatTransport } from '@ai-sdk/workflow/client'
import { seed } from '../chance.mjs'
import { Cutter } from '../cutter.mjs'
import { Relay } from '../relay.mjs'
import { begun, chatOf, city, documented, hard, isAnswered, said, startProvider, stop, textOf, until, upstream } from './sdk.mjs'

const options = { timeout: 30_000 }

const provider = await startProvider()
const relay = await Relay.start(...upstream(provider))
after(async () => {
  await relay.stop()
  await provider.close()
})

// It tells the console of each line that it loses.
let told
beforeEach((t) => {
  told = []
  for (const name of ['error', 'warn']) t.mock.method(console, name, (...words) => told.push(words.join(' ')))
})

/**
 * The transport at an address, and what it asks and counts. Its body has no id
 * of the chat unless the application puts it there, as one does that is to find
 * its chat again when the page is loaded.
 */
function over(url, more = {}) {
  const asked = []
  const transport = new WorkflowChatTransport({
    api: `${url}/api/chat`,
    // It gives up after so many lines that were lost, whatever came between.
    maxConsecutiveErrors: 1000,
    prepareSendMessagesRequest: ({ id, messages, body }) => ({ body: { id, messages, ...body } }),
    onChatSendMessage: (answer) => (transport.run = answer.headers.get('x-workflow-run-id')),
    onChatEnd: ({ chunkIndex }) => (transport.chunks = chunkIndex),
    ...more,
    fetch: (to, init) => (asked.push(new URL(to)), (more.fetch ?? fetch)(to, init)),
  })
  return Object.assign(transport, { asked })
}

/** How many chunks a run has. */
async function chunksOf(run) {
  const answer = await fetch(`${relay.url}/api/chat/${run}/stream?startIndex=0`)
  await answer.body.cancel()
  return Number(answer.headers.get('x-workflow-stream-tail-index')) + 1
}

test('answers, with the body as the transport makes it', options, async () => {
  const transport = over(relay.url, { prepareSendMessagesRequest: undefined })
  const chat = chatOf(transport)
  await chat.sendMessage({ text: 'Tell me.' })
  isAnswered(chat, hard)
  assert.equal(chat.messages[1].id, `msg_${transport.run}`)
  assert.deepEqual([transport.asked.length, transport.chunks, told], [1, await chunksOf(transport.run), []])
  await chat.sendMessage({ text: 'And then?' }, { body: { model: 'own/thinks' } })
  assert.deepEqual(chat.messages[3].parts.map((p) => [p.type, p.text]), [['step-start', undefined], ['reasoning', 'Hm 🤔\n'], ['text', hard]])
})

test('lines that are reset at random bytes: it goes on exactly, by itself', options, async (t) => {
  t.diagnostic(`CONTRACT_SEED=${seed}`)
  let made = 0
  let inEvent = 0
  for (let run = 0; run < 4; run++) {
    // Behind the head: where that is cut, fetch fails, and the transport with it.
    const cutter = await Cutter.start({ port: relay.port, cuts: 25, place: (random) => random(600, 2_500), salt: 160 + run })
    t.after(() => cutter.close()) // or a failure above its end would keep the process
    const transport = over(cutter.url)
    const chat = chatOf(transport)
    await chat.sendMessage({ text: 'Tell me.' })
    isAnswered(chat, hard)
    const froms = transport.asked.slice(1).map((url) => Number(url.searchParams.get('startIndex')))
    // Not once in vain; a cut behind the last chunk is nobody's loss.
    assert.ok([cutter.made, cutter.made + 1].includes(transport.asked.length), `${cutter.made} cuts, asked from ${froms}`)
    assert.deepEqual(froms, froms.toSorted((a, b) => a - b))
    for (const url of transport.asked.slice(1)) assert.equal(url.pathname, `/api/chat/${transport.run}/stream`)
    assert.equal(transport.chunks, await chunksOf(transport.run))
    made += cutter.made
    inEvent += cutter.inEvent
  }
  t.diagnostic(`${made} cuts, ${inEvent} of them inside an event`)
  assert.ok(made >= 24 && inEvent >= 10, `${made} cuts, ${inEvent} inside an event`)
})

test('a page that is loaded in the middle, by the id of the chat', options, async (t) => {
  const chat = chatOf(over(relay.url))
  const asking = chat.sendMessage({ text: 'Tell me.' })
  await until(() => chat.messages.length === 2 && said(chat).length > 300, 'some text')
  const messages = structuredClone(chat.messages.slice(0, 1))
  const cutter = await Cutter.start({ port: relay.port, cuts: 6, place: (random) => random(600, 4_000), salt: 170 })
  t.after(() => cutter.close())
  const page = chatOf(over(cutter.url), { id: chat.id, messages })
  await Promise.all([asking, page.resumeStream()])
  isAnswered(page, hard)
  assert.ok(cutter.made >= 3)
  const late = chatOf(over(relay.url), { id: chat.id, messages })
  await late.resumeStream() // it has ended a moment ago
  isAnswered(late, hard)
  assert.equal(late.messages[1].id, chat.messages[1].id)
})

test('nothing is active', options, async () => {
  for (const initialStartIndex of [0, -5]) {
    const transport = over(relay.url, { initialStartIndex })
    const chat = chatOf(transport)
    await chat.resumeStream()
    assert.deepEqual([chat.status, chat.messages, chat.errors, transport.asked.length, told], ['ready', [], [], 1, []])
  }
})

// The last chunks, and all of the parts that they are of: the transport would
// drop what has no beginning. Lines that are lost are gone on from exactly.
test('a negative startIndex', options, async (t) => {
  t.diagnostic(`CONTRACT_SEED=${seed}`)
  const cutter = await Cutter.start({ port: relay.port, cuts: 12, place: (random) => random(600, 3_000), salt: 180 })
  t.after(() => cutter.close())
  const chat = chatOf(over(relay.url))
  const asking = chat.sendMessage({ text: 'Tell me.' }, { body: { model: 'own/thinks' } })
  await until(() => chat.messages.length === 2 && said(chat).length > 300, 'some text')
  const transport = over(cutter.url, { initialStartIndex: -10 })
  const page = chatOf(transport, { id: chat.id, messages: structuredClone(chat.messages.slice(0, 1)) })
  await Promise.all([asking, page.resumeStream()])
  isAnswered(page, hard)
  assert.deepEqual(page.messages[1].parts.map((p) => p.type), ['text']) // which the last ten are of
  assert.equal(transport.chunks, await chunksOf(chat.messages[1].id.slice('msg_'.length)))
  assert.ok(cutter.made >= 3 && !told.some((words) => words.includes('orphan')), told.join('\n'))
})

test('an upstream that breaks is an error, not a short answer', options, async () => {
  const transport = over(relay.url)
  const chat = chatOf(transport)
  await chat.sendMessage({ text: 'Tell me.' }, { body: { model: 'own/breaks' } })
  assert.deepEqual([chat.status, said(chat), transport.asked.length], ['error', begun, 1])
  assert.match(chat.error.message, /broke off|ended before/)
  await chat.sendMessage({ text: 'Tell me.' }, { body: { model: 7 } })
  assert.equal(chat.error.message, 'Failed to fetch chat: 400 model: cannot be this number')
})

test('stop is seen by all, and nobody comes back', options, async () => {
  const [one, other] = [over(relay.url), over(relay.url)]
  const chat = chatOf(one)
  const asking = chat.sendMessage({ text: 'Tell me.' }, { body: { model: 'own/slow' } })
  await until(() => chat.messages.length === 2 && said(chat).length > 100, 'some text')
  const page = chatOf(other, { id: chat.id, messages: chat.messages.slice(0, 1) })
  const watching = page.resumeStream()
  await until(() => page.messages.length === 2, 'the same in another window')
  assert.deepEqual(await stop(relay.url, chat.id), { id: one.run, state: 'stopped' })
  await Promise.all([asking, watching])
  for (const c of [chat, page]) assert.deepEqual([c.status, said(c)], ['ready', await textOf(relay.url, one.run)])
  assert.deepEqual([one.asked.length, other.asked.length, told], [1, 1, []])
})

test('tool calls over lines that are cut', options, async (t) => {
  t.diagnostic(`CONTRACT_SEED=${seed}`)
  const cutter = await Cutter.start({ port: relay.port, cuts: 8, place: (random) => random(600, 2_500), salt: 190 })
  t.after(() => cutter.close())
  const chat = chatOf(over(cutter.url))
  await chat.sendMessage({ text: 'How is it?' }, { body: { model: 'own/tools' } })
  assert.deepEqual(chat.messages[1].parts.slice(2).map((p) => [p.type, p.state, p.input]), ['weather', 'time'].map((name) => [`tool-${name}`, 'input-available', JSON.parse(city)]))
  assert.equal(chat.status, 'ready')
  assert.ok(cutter.made >= 3)
})

// What an application adds for a relay that is away for a moment: the transport
// itself gives up when a connection is refused. With a key a question that was
// asked twice is answered once.
const patient = async (url, init) => {
  const headers = { ...init.headers, ...(init.method === 'POST' && { 'Idempotency-Key': crypto.randomUUID() }) }
  for (let left = 400; ; left--) {
    const answer = await fetch(url, { ...init, headers }).catch((error) => error)
    if (!(answer instanceof TypeError) && answer.status !== 503) return answer
    if (left === 0) throw answer // the relay does not come back
    await new Promise((resolve) => setTimeout(resolve, 50)) // between two tries
  }
}

test('a relay that is killed and started again, in the middle', options, async (t) => {
  const relay = await Relay.start(...upstream(provider))
  t.after(() => relay.stop())
  const transport = over(relay.url, { fetch: patient })
  const chat = chatOf(transport)
  const asking = chat.sendMessage({ text: 'tides' }, { body: { model: 'demo', tokenrelay: { length: 150, rate: 500, unit: 'grapheme' } } })
  // And a text that is easy to cut wrongly, read by its id.
  const { id } = await relay.create({ source: { type: 'text', text: hard }, unit: 'grapheme', rate: 1500 })
  const page = chatOf(over(relay.url, { fetch: patient }), { id })
  const reading = page.resumeStream()
  for (let n = 1; n <= 2; n++) {
    await until(() => page.messages.length === 1 && said(page).length > 400 * n && said(chat).length > 100 * n, 'some text')
    await relay.restart()
  }
  await Promise.all([asking, reading])
  isAnswered(chat, await textOf(relay.url, transport.run))
  assert.equal((await relay.session(transport.run)).state, 'done')
  assert.deepEqual([page.status, page.messages.length, said(page)], ['ready', 1, hard])
  await relay.restart()
  const late = chatOf(over(relay.url), { id: chat.id, messages: chat.messages.slice(0, 1) })
  await late.resumeStream() // by the id of the chat, when it has ended
  assert.deepEqual(late.messages[1], chat.messages[1])
  assert.ok(transport.asked.length >= 3, `asked ${transport.asked.length} times`)
})

test('heads that are cut too, with the same fetch', options, async (t) => {
  t.diagnostic(`CONTRACT_SEED=${seed}`)
  const cutter = await Cutter.start({ port: relay.port, cuts: 20, place: (random) => random(1, 2_000), salt: 200 })
  t.after(() => cutter.close())
  const before = provider.asked('hard')
  const chat = chatOf(over(cutter.url, { fetch: patient }))
  await chat.sendMessage({ text: 'Tell me.' })
  isAnswered(chat, hard)
  t.diagnostic(`${cutter.made} cuts`)
  assert.equal(provider.asked('hard'), before + 1)
})

test('the fetch of the documentation, over heads that are cut, and an abort', options, async (t) => {
  t.diagnostic(`CONTRACT_SEED=${seed}`)
  const patientFetch = await documented('patientFetch')
  const cutter = await Cutter.start({ port: relay.port, cuts: 6, place: (random) => random(1, 2_000), salt: 201 })
  t.after(() => cutter.close())
  const before = provider.asked('hard')
  const chat = chatOf(over(cutter.url, { fetch: patientFetch }))
  await chat.sendMessage({ text: 'Tell me.' })
  isAnswered(chat, hard)
  assert.equal(provider.asked('hard'), before + 1)
  const nobody = chatOf(over('http://127.0.0.1:1', { fetch: patientFetch }))
  const asking = nobody.sendMessage({ text: 'Tell me.' })
  setTimeout(() => nobody.stop(), 100)
  await asking
  assert.deepEqual([nobody.status, nobody.errors], ['ready', []])
})
