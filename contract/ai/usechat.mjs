// npm ai 7.0.173 and @ai-sdk/react 4.0.177, unmodified: the chat class of
// useChat over DefaultChatTransport.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { DefaultChatTransport, lastAssistantMessageIsCompleteWithToolCalls } from 'ai'
import { chance, seed } from '../chance.mjs'
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

const over = (url, more = {}) => new DefaultChatTransport({ api: `${url}/api/chat`, ...more })

test('answers', options, async () => {
  const chat = chatOf(over(relay.url))
  let finished
  chat.onFinish = (end) => (finished = end)
  await chat.sendMessage({ text: 'Tell me.' })
  isAnswered(chat, hard)
  assert.deepEqual([finished.finishReason, finished.isAbort, finished.isError, finished.isDisconnect], ['stop', false, false, false])
  const asked = provider.requests.at(-1)
  assert.deepEqual([asked.model, asked.messages], ['hard', [{ role: 'user', content: 'Tell me.' }]])
  await chat.sendMessage({ text: 'And then? 🏔️' }, { body: { model: 'own/thinks', temperature: 0.5, tenant: 'a' } })
  assert.deepEqual(chat.messages.map((m) => m.role), ['user', 'assistant', 'user', 'assistant'])
  assert.deepEqual(chat.messages[3].parts.map((p) => [p.type, p.text]), [['step-start', undefined], ['reasoning', 'Hm 🤔\n'], ['text', hard]])
  assert.equal(finished.finishReason, 'length')
  const again = provider.requests.at(-1)
  assert.deepEqual([again.model, again.temperature, again.tenant], ['thinks', 0.5, undefined])
  assert.deepEqual(again.messages.slice(1), [{ role: 'assistant', content: hard }, { role: 'user', content: 'And then? 🏔️' }])
  await chat.regenerate({ body: { model: 'own/hard' } })
  assert.deepEqual([said(chat), chat.messages.length], [hard, 4])
})

// The chat has ended with an error each time; resumeStream is what useChat calls
// when the page is seen again.
test('a line that is reset at random bytes: resumeStream replays into one message', options, async (t) => {
  t.diagnostic(`CONTRACT_SEED=${seed}`)
  let made = 0
  for (let run = 0; run < 4; run++) {
    const cutter = await Cutter.start({ port: relay.port, cuts: 8, place: (random, n) => (n === 0 ? random(600, 20_000) : random(1, 22_000)), salt: 140 + run })
    const chat = chatOf(over(cutter.url))
    await chat.sendMessage({ text: 'Tell me.' })
    let resumed = 0
    while (chat.status === 'error') {
      assert.ok(++resumed < 50, 'never ends')
      await chat.resumeStream()
    }
    isAnswered(chat, hard)
    made += cutter.made
    await cutter.close()
  }
  t.diagnostic(`${made} cuts`)
  assert.ok(made >= 24, `${made} cuts`)
})

// What an application adds for an exact tail in place of a replay: the number of
// each event travels with it, and this remembers the last of them.
function remembering() {
  let last
  const asked = []
  return {
    asked,
    async fetch(url, init) {
      if (init.method === 'POST') last = undefined // of another run
      const headers = last === undefined ? init.headers : { ...init.headers, 'Last-Event-ID': last }
      asked.push(last)
      const answer = await fetch(url, { ...init, headers })
      if (!answer.body) return answer
      let line = ''
      const decoder = new TextDecoder()
      const watch = new TransformStream({
        transform(bytes, controller) {
          // Whole events only: the SDK drops the rest of one that is cut.
          const parts = (line + decoder.decode(bytes, { stream: true })).split('\n\n')
          line = parts.pop()
          for (const event of parts) {
            last = /^id: (\d+)$/m.exec(event)?.[1] ?? last
            controller.enqueue(new TextEncoder().encode(`${event}\n\n`))
          }
        },
      })
      // Browsers call it a network error; Node says terminated, which the SDK does not know.
      const body = answer.body.pipeThrough(watch)
      const reader = body.getReader()
      const named = new ReadableStream({
        pull: async (controller) => {
          try {
            const { done, value } = await reader.read()
            if (done) controller.close()
            else controller.enqueue(value)
          } catch (cause) {
            controller.error(new TypeError('network error', { cause }))
          }
        },
        cancel: (reason) => reader.cancel(reason),
      })
      return new Response(named, { status: answer.status, headers: answer.headers })
    },
  }
}

test('the same with Last-Event-ID: an exact tail', options, async (t) => {
  t.diagnostic(`CONTRACT_SEED=${seed}`)
  const cutter = await Cutter.start({ port: relay.port, cuts: 15, place: (random) => random(700, 3_000), salt: 150 })
  t.after(() => cutter.close())
  const memory = remembering()
  const chat = chatOf(over(cutter.url, { fetch: memory.fetch, resumeStreamIsReplay: false }))
  await chat.sendMessage({ text: 'Tell me.' })
  while (chat.status === 'error') await chat.resumeStream()
  isAnswered(chat, hard)
  t.diagnostic(`${cutter.made} cuts, behind ${memory.asked.slice(1).join(', ')}`)
  assert.ok(cutter.made >= 5)
  assert.deepEqual(memory.asked, [undefined, ...memory.asked.slice(1).sort((a, b) => a - b)])
  await chat.resumeStream() // nothing is left
  isAnswered(chat, hard)
})

test('a page that is loaded again in the middle, with and without what was kept', options, async () => {
  const chat = chatOf(over(relay.url))
  const asking = chat.sendMessage({ text: 'Tell me.' })
  await until(() => chat.messages.length === 2 && said(chat).length > 300, 'some text')
  const kept = structuredClone(chat.messages)
  const pages = [kept, kept.slice(0, 1)].map((messages) => chatOf(over(relay.url), { id: chat.id, messages }))
  await Promise.all([asking, ...pages.map((page) => page.resumeStream())])
  for (const page of [chat, ...pages]) isAnswered(page, hard)
  assert.equal(pages[0].messages[1].id, chat.messages[1].id)
  const late = chatOf(over(relay.url), { id: chat.id, messages: kept.slice(0, 1) })
  await late.resumeStream() // it has ended a moment ago
  isAnswered(late, hard)
})

test('nothing is active', options, async () => {
  const chat = chatOf(over(relay.url))
  await chat.resumeStream()
  assert.deepEqual([chat.status, chat.messages, chat.errors], ['ready', [], []])
})

test('stop is seen by all', options, async () => {
  const chat = chatOf(over(relay.url))
  const asking = chat.sendMessage({ text: 'Tell me.' }, { body: { model: 'own/slow' } })
  await until(() => chat.messages.length === 2 && said(chat).length > 100, 'some text')
  const other = chatOf(over(relay.url), { id: chat.id, messages: chat.messages.slice(0, 1) })
  const watching = other.resumeStream()
  await until(() => other.messages.length === 2 && said(other).length > 100, 'the same in another window')
  await chat.stop() // leaves, and nothing else
  await asking
  assert.equal(chat.status, 'ready')
  const before = said(other).length
  await until(() => said(other).length > before, 'more in the other window')
  const { id, state } = await stop(relay.url, chat.id)
  assert.equal(state, 'stopped')
  await watching
  assert.deepEqual([other.status, other.errors], ['ready', []])
  assert.ok(hard.startsWith(said(other)) && said(other).length < hard.length)
  assert.equal(said(other), await textOf(relay.url, id))
  assert.deepEqual(await stop(relay.url, chat.id), { id, state })
  await other.resumeStream()
  assert.deepEqual([other.status, other.messages.length], ['ready', 2])
})

test('an upstream that breaks is an error, not a short answer', options, async () => {
  const chat = chatOf(over(relay.url))
  await chat.sendMessage({ text: 'Tell me.' }, { body: { model: 'own/breaks' } })
  assert.equal(chat.status, 'error')
  assert.match(chat.error.message, /broke off|ended before/)
  assert.ok(said(chat) === begun, said(chat))
  await chat.resumeStream() // and stays one
  assert.equal(chat.status, 'error')
  assert.equal(said(chat), begun)
})

test('what is refused is said in a sentence', options, async () => {
  const chat = chatOf(over(relay.url))
  await chat.sendMessage({ text: 'Tell me.' }, { body: { model: 'nobody/m', tokenrelay: { unit: 'char' } } })
  assert.equal(chat.status, 'error')
  assert.match(chat.error.message, /^tokenrelay\.unit: /)
  assert.equal(chat.error.statusCode, 400)
  const file = { type: 'file', mediaType: 'application/pdf', url: 'data:application/pdf;base64,AA==' }
  await chat.sendMessage({ files: [file] })
  assert.match(chat.error.message, /only images go on to a model/)
})

test('images', options, async () => {
  const chat = chatOf(over(relay.url))
  const url = 'data:image/png;base64,iVBORw0KGgo='
  await chat.sendMessage({ text: 'What is it?', files: [{ type: 'file', mediaType: 'image/png', url }] })
  isAnswered(chat, hard)
  assert.deepEqual(provider.requests.at(-1).messages[0].content, [{ type: 'image_url', image_url: { url } }, { type: 'text', text: 'What is it?' }])
})

// The tools are the page's: it gives what they return, and the SDK asks again.
test('tool calls, and the answer to what they return', options, async () => {
  const called = []
  const chat = chatOf(over(relay.url, { body: { model: 'own/tools', tools: [{ type: 'function', function: { name: 'weather', parameters: {} } }] } }), {
    sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithToolCalls,
    onToolCall({ toolCall }) {
      called.push(toolCall)
      const { toolName: tool, toolCallId } = toolCall
      if (tool === 'weather') chat.addToolOutput({ tool, toolCallId, output: { degrees: 21 } })
      else chat.addToolOutput({ tool, toolCallId, state: 'output-error', errorText: 'no clock' })
    },
  })
  await chat.sendMessage({ text: 'How is it?' })
  await until(() => chat.status === 'ready' && said(chat).includes('clock'), 'an answer to what the tools return')
  assert.deepEqual(called.map((c) => [c.toolName, c.input]), ['weather', 'time'].map((name) => [name, JSON.parse(city)]))
  assert.deepEqual(chat.messages.map((m) => m.role), ['user', 'assistant'])
  const parts = chat.messages[1].parts.map((p) => [p.type, p.state ?? '', p.text ?? p.output ?? p.errorText ?? ''])
  assert.deepEqual(parts, [
    ['step-start', '', ''],
    ['text', 'done', 'Let me see. '],
    ['tool-weather', 'output-available', { degrees: 21 }],
    ['tool-time', 'output-error', 'no clock'],
    ['step-start', '', ''],
    ['text', 'done', '{"degrees":21} and no clock'],
  ])
  const [, asked, weather, time] = provider.requests.at(-1).messages
  assert.deepEqual([asked.role, asked.content, asked.tool_calls.length], ['assistant', 'Let me see. ', 2])
  assert.deepEqual(asked.tool_calls.map((c) => JSON.parse(c.function.arguments)), [JSON.parse(city), JSON.parse(city)])
  assert.deepEqual([weather, time], [{ role: 'tool', content: '{"degrees":21}', tool_call_id: 'call_weather' }, { role: 'tool', content: 'no clock', tool_call_id: 'call_time' }])
  assert.equal(provider.requests.at(-1).tools.length, 1)
})

// A run need not be a chat's: any session can be read by its id.
test('events of a push session are data parts', options, async () => {
  const { id } = await relay.create({ source: { type: 'push' }, unit: 'grapheme' })
  await relay.command(id, 'append', { text: begun })
  await relay.command(id, 'append', { event: 'weather', data: { city: 'Zürich 🏔️\u2028' } })
  await relay.command(id, 'append', { text: hard.slice(begun.length) })
  await relay.command(id, 'finish')
  const chat = chatOf(over(relay.url), { id })
  await chat.resumeStream()
  assert.equal(said(chat), hard)
  assert.deepEqual(chat.messages[0].parts.find((p) => p.type === 'data-weather').data, { city: 'Zürich 🏔️\u2028' })
})

test('the fetch of the documentation: an exact tail, and a disconnect that is told', options, async (t) => {
  t.diagnostic(`CONTRACT_SEED=${seed}`)
  const exactFetch = await documented('exactFetch')
  const cutter = await Cutter.start({ port: relay.port, cuts: 15, place: (random) => random(700, 3_000), salt: 151 })
  t.after(() => cutter.close())
  let lost = 0
  const chat = chatOf(over(cutter.url, { fetch: exactFetch(), resumeStreamIsReplay: false }), { onFinish: ({ isDisconnect }) => (lost += isDisconnect) })
  await chat.sendMessage({ text: 'Tell me.' })
  while (chat.status === 'error') await chat.resumeStream()
  isAnswered(chat, hard)
  assert.ok(cutter.made >= 5)
  assert.ok(lost >= 5 && lost <= cutter.made, `${lost} of ${cutter.made}`) // the last cut may come behind the end
})
