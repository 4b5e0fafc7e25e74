// What the tests with the AI SDK share: the chat class of useChat, and a
// provider of models. They need Node 22.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { Chat } from '@ai-sdk/react'
import { chance, text } from '../chance.mjs'
import { chunk, finish, paced, pieces, Provider, RESET } from '../provider.mjs'

/** A text that is easy to cut wrongly. */
export const hard = text(2500, chance(130))

/** What of hard comes before an upstream breaks: whole characters. */
export const begun = [...hard].slice(0, 400).join('')

export const city = '{"city":"Zürich 🏔️","note":"a \\"b\\" \\\\ \\u00e9\\n"}'

/** A provider whose model `hard` writes hard, and others what their names say. */
export const startProvider = () =>
  Provider.start({
    async *hard() {
      yield* paced(pieces(hard, chance(131)), 2)
      yield finish()
    },
    async *slow() {
      yield* paced(pieces(hard, chance(132)), 1)
      await new Promise(() => {}) // somebody is to stop it
    },
    async *thinks() {
      yield* paced(pieces('Hm 🤔\n', chance(133), 'reasoning_content'))
      yield* paced(pieces(hard, chance(134)))
      yield finish('length')
    },
    async *breaks() {
      yield* paced(pieces(begun, chance(135)))
      yield RESET
    },
    // Calls two tools, and says what they returned.
    async *tools({ messages }) {
      const results = messages.filter((m) => m.role === 'tool')
      if (results.length > 0) {
        yield* pieces(results.map((m) => m.content).join(' and '), chance(136))
        return yield finish()
      }
      yield* pieces('Let me see. ', chance(137))
      for (const [index, name] of ['weather', 'time'].entries()) {
        yield chunk({ tool_calls: [{ index, id: `call_${name}`, type: 'function', function: { name, arguments: '' } }] })
        for (const c of city) yield chunk({ tool_calls: [{ index, function: { arguments: c } }] })
      }
      yield finish('tool_calls')
    },
  })

/** The flags of a relay with that provider. */
export const upstream = (provider) => ['--upstream', `name=own,base_url=${provider.url}/v1,retries=0,model=hard`]

let chats = 0

/** A chat as useChat makes it, with the errors that it tells of. */
export function chatOf(transport, options = {}) {
  const errors = []
  const chat = new Chat({ id: `chat/${process.pid} ${++chats}`, transport, onError: (error) => errors.push(error), ...options })
  return Object.assign(chat, { errors })
}

/** The text of a chat's last message. */
export const said = (chat) =>
  chat.messages
    .at(-1)
    .parts.filter((part) => part.type === 'text')
    .map((part) => part.text)
    .join('')

/** Fails unless a chat is a question and one whole answer to it. */
export function isAnswered(chat, want) {
  assert.deepEqual([chat.status, chat.error?.message], ['ready', undefined])
  assert.deepEqual(chat.messages.map((m) => m.role), ['user', 'assistant'])
  assert.equal(said(chat), want)
  for (const part of chat.messages[1].parts) assert.notEqual(part.state, 'streaming')
}

/** Returns once ok holds, and fails if it does not within a while. */
export async function until(ok, what) {
  for (const start = Date.now(); !(await ok()); ) {
    if (Date.now() - start > 10_000) throw new Error(`never: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 2)) // between two looks
  }
}

/** Stops a run as an application does: by a request of its own. */
export async function stop(url, id) {
  const answer = await fetch(`${url}/api/chat/${encodeURIComponent(id)}/stop`, { method: 'POST' })
  assert.equal(answer.status, 200, await answer.clone().text())
  return answer.json()
}

/** The text of a run so far. */
export async function textOf(url, id) {
  const answer = await fetch(`${url}/v1/sessions/${id}/text`)
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(await answer.arrayBuffer())
}

/** A function that docs/clients.md gives to applications, as it stands there. */
export async function documented(name) {
  const page = await readFile(new URL('../../docs/clients.md', import.meta.url), 'utf8')
  const code = page.split('```js\n').map((block) => block.split('```')[0]).find((block) => block.includes(`function ${name}(`))
  return (await import(`data:text/javascript,${encodeURIComponent(code)}`))[name]
}
