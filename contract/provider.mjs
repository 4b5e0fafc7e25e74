// A provider of models that speaks OpenAI's chat completions, and says what a
// test wants said: what no simulator does, fields of its own and lines that
// break between two characters.
import { createServer } from 'node:http'
import { once } from 'node:events'

/** Yielded in place of a chunk: the line is reset (RST). */
export const RESET = Symbol('reset')

/** Yielded in place of a chunk: the line is ended as if nothing were amiss. */
export const END = Symbol('end')

/**
 * Models are named generators: each is given the body of a request and yields
 * the chunks of its answer. What is the same in all chunks is added.
 */
export class Provider {
  static async start(models) {
    const provider = new Provider()
    provider.requests = [] // the bodies, in order
    provider.server = createServer((request, response) => provider.#answer(models, request, response).catch(() => response.destroy()))
    provider.server.listen(0, '127.0.0.1')
    await once(provider.server, 'listening')
    provider.url = `http://127.0.0.1:${provider.server.address().port}`
    return provider
  }

  /** How often a model has been asked. */
  asked(model) {
    return this.requests.filter((body) => body.model === model).length
  }

  async #answer(models, request, response) {
    const body = JSON.parse((await request.toArray()).join(''))
    this.requests.push(body)
    response.writeHead(200, { 'Content-Type': 'text/event-stream' })
    response.flushHeaders()
    for await (const chunk of models[body.model](body)) {
      if (chunk === RESET) {
        await new Promise(setImmediate) // until what was written is on its way
        return response.socket.resetAndDestroy()
      }
      if (chunk === END) return response.end()
      const whole = { id: 'chatcmpl-upstream', object: 'chat.completion.chunk', created: 1_700_000_000, model: body.model, ...chunk }
      if (!response.write(`data: ${JSON.stringify(whole)}\n\n`)) await once(response, 'drain')
      if (response.destroyed) return
    }
    response.end('data: [DONE]\n\n')
  }

  async close() {
    this.server.closeAllConnections()
    this.server.close()
    await once(this.server, 'close')
  }
}

/** A chunk with that delta. */
export const chunk = (delta, finish_reason = null) => ({ choices: [{ index: 0, delta, finish_reason }] })

/** The chunk that says why an answer has ended. */
export const finish = (reason = 'stop') => chunk({}, reason)

/** The chunk that says what an answer has cost. */
export const used = (prompt_tokens, completion_tokens) => ({
  choices: [],
  usage: { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens },
})

/** A text in pieces of 1 to 12 code points, as content or another field of the delta. */
export function* pieces(text, random, field = 'content') {
  const points = [...text]
  for (let at = 0; at < points.length; ) {
    const end = at + random(1, 12)
    yield chunk({ [field]: points.slice(at, end).join('') })
    at = end
  }
}

/** Chunks as a model gives them, a few every millisecond. */
export async function* paced(chunks, few = 4) {
  let n = 0
  for (const c of chunks) {
    yield c
    if (++n % few === 0) await new Promise((resolve) => setTimeout(resolve, 1)) // it thinks
  }
}
