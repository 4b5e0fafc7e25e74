// What a client saw, and whether it is what it should have seen.
import assert from 'node:assert/strict'
import { after } from 'node:test'
import { EventSource } from 'eventsource'
import { LIMIT } from './relay.mjs'

/** The names of the relay's own events, beside the unnamed one. */
export const names = ['session', 'reasoning', 'tool_call', 'paused', 'resumed', 'seam', 'done', 'stopped', 'failed', 'interrupted']
const terminal = new Set(['done', 'stopped', 'failed', 'interrupted'])

/** The events that one reader got, however many connections it took. */
export class Transcript {
  events = []
  lost = 0
  repeated = 0
  #waiting = new Set()

  /** Takes an event with an id. */
  add({ type, id, data }) {
    const n = Number(id)
    if (n <= this.last) this.repeated++
    else this.lost += n - this.last - 1
    this.events.push({ id: n, type, data: JSON.parse(data) })
    for (const check of this.#waiting) check()
  }

  get last() {
    return this.events.at(-1)?.id ?? 0
  }

  get text() {
    return this.events.map((e) => (e.type === 'message' ? e.data.text : '')).join('')
  }

  /** The terminal event. */
  get end() {
    return this.events.find((e) => terminal.has(e.type))
  }

  /** Waits until it holds, and looks after each event. */
  async until(condition, what) {
    let check, timer
    try {
      await new Promise((resolve, reject) => {
        check = () => condition(this) && resolve()
        timer = setTimeout(() => reject(new Error(`${what}: not in ${LIMIT} ms, at event ${this.last}`)), LIMIT)
        this.#waiting.add(check)
        check()
      })
    } finally {
      clearTimeout(timer)
      this.#waiting.delete(check)
    }
  }

  /** Waits for the terminal event. */
  async ended() {
    await this.until((t) => t.end, 'terminal event')
    return this.end
  }

  /** Fails unless each event came once, in order, and the text is exact. */
  isExactly(text) {
    assert.deepEqual({ lost: this.lost, repeated: this.repeated, last: this.last }, { lost: 0, repeated: 0, last: this.events.length })
    if (text !== undefined) assert.equal(this.text, text)
  }
}

// One that is left over, by a test that failed, would keep the process.
const sources = []
after(() => sources.forEach((source) => source.close()))

/**
 * Follows a URL with EventSource into a transcript. The result's closed
 * resolves, with the status, when EventSource gives up by itself.
 */
export function follow(url, transcript, more = []) {
  const source = new EventSource(url)
  sources.push(source)
  for (const name of ['message', ...names, ...more]) {
    source.addEventListener(name, (e) => transcript.add({ type: e.type, id: e.lastEventId, data: e.data }))
  }
  source.reconnects = 0
  source.closed = new Promise((resolve) => {
    source.addEventListener('error', (e) => {
      if (source.readyState === EventSource.CLOSED) resolve(e.code)
      else source.reconnects++
    })
  })
  return source
}
