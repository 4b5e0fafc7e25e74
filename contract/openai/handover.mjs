// The command with npm openai 7.57.0 that the page gives to go on elsewhere, run by
// a shell as it stands: what was read natively up to an event, and what the command
// writes, are the whole text. The page's own TypeScript is run: this Node strips types.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { dirname, delimiter } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { chance, text } from '../chance.mjs'
import { openai } from '../../frontend/src/chat/handover.ts'
import { finish, pieces, Provider, RESET } from '../provider.mjs'
import { LIMIT, Relay } from '../relay.mjs'
import { follow, Transcript } from '../transcript.mjs'

const options = { timeout: 30_000 }

const hard = text(600, chance(160))
let goOn // called to have the answer's second half
const half = new Promise((resolve) => (goOn = resolve))
const provider = await Provider.start({
  *hard() {
    yield* pieces('Hm. "Let me" think.', chance(161), 'reasoning_content')
    yield* pieces(hard, chance(162))
    yield finish()
  },
  async *halves() {
    const all = [...pieces(hard, chance(165))]
    yield* all.slice(0, all.length / 2)
    await half
    yield* all.slice(all.length / 2)
    yield finish()
  },
  *broken() {
    yield* pieces(hard, chance(163))
    yield RESET
  },
})
const relay = await Relay.start('--upstream', `name=own,base_url=${provider.url}/v1,retries=0`)
after(async () => {
  await relay.stop()
  await provider.close()
})

/** Runs a command in a folder with npm openai, and returns how it ended and what it wrote. */
async function run(command) {
  const child = spawn('sh', ['-c', command], {
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    env: { ...process.env, PATH: dirname(process.execPath) + delimiter + process.env.PATH },
  })
  const written = { out: '', err: '' }
  child.stdout.setEncoding('utf8').on('data', (data) => (written.out += data))
  child.stderr.setEncoding('utf8').on('data', (data) => (written.err += data))
  const [code] = await once(child, 'close')
  return { code, ...written }
}

const create = (model) => relay.create({ source: { type: 'upstream', model, messages: [{ role: 'user', content: 'x' }] }, unit: 'grapheme' })
const commandBehind = async (id, n) => openai(relay.url, await relay.must('GET', `/v1/sessions/${id}/cursors?after=${n}`))

/** Reads a session natively until there are n events of it, or to its end, and leaves. */
async function readTo(id, n) {
  const read = new Transcript()
  const source = follow(`${relay.url}/v1/sessions/${id}/events`, read)
  await read.until((t) => t.last >= n || t.end, `event ${n}`)
  source.close()
  read.events = read.events.filter((e) => e.id <= n)
  return read
}

/** Returns the session once so many read it. */
async function readBy(id, readers) {
  for (const start = Date.now(); Date.now() - start < LIMIT; await new Promise((resolve) => setTimeout(resolve, 5))) {
    const session = await relay.session(id)
    if (session.readers === readers) return session
  }
  throw new Error(`session ${id} is not read by ${readers}`)
}

/** What a command writes, which must end well. */
async function written(command) {
  const { code, out, err } = await run(command)
  assert.deepEqual([code, err], [0, ''], out)
  return out
}

test('goes on from an event while the answer is written', options, async (t) => {
  const { id } = await create('own/halves')
  const read = await readTo(id, 40)
  const command = await commandBehind(id, read.last)
  await readBy(id, 0)
  const rest = written(command)
  const { state } = await readBy(id, 1)
  goOn()
  assert.equal(state, 'running')
  assert.equal(read.text + (await rest), hard)
  t.diagnostic(`${read.text.length} of ${hard.length} were read before`)
})

test('goes on from an event of an answer that has ended', options, async () => {
  const { id } = await create('own/hard')
  const { last_event_id: last } = await relay.ended(id)
  const random = chance(164)
  // Nothing read, the session's own event, its reasoning, somewhere in its text, its text, and all of it.
  await Promise.all([0, 1, 2, random(3, last - 2), last - 1, last].map(async (n) => {
    const read = n > 0 ? await readTo(id, n) : new Transcript()
    assert.equal(read.last, n)
    assert.equal(read.text + (await written(await commandBehind(id, n))), hard, `behind event ${n}`)
  }))
})

test('an answer that broke off is no success', options, async () => {
  const { id } = await create('own/broken')
  const { error } = await relay.ended(id)
  const { code, out, err } = await run(await commandBehind(id, 0))
  assert.equal(out, await (await fetch(`${relay.url}/v1/sessions/${id}/text`)).text()) // what came before the reset
  assert.ok(out !== '' && hard.startsWith(out))
  assert.notEqual(code, 0)
  assert.ok(err.includes(error.message), err)
})
