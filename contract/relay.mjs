// The real binary: built, started on a free port of loopback, asked, killed and started again, stopped.
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const built = fileURLToPath(new URL('bin/tokenrelay', import.meta.url))

/** Milliseconds after which a condition that has not come is a failure. */
export const LIMIT = 20_000

/** Builds the binary, unless TOKENRELAY_BIN names one. */
export function build() {
  if (!process.env.TOKENRELAY_BIN) execFileSync('go', ['build', '-o', built, '.'], { cwd: root, stdio: 'inherit' })
}

/** Where the binary is. */
export function binary() {
  if (process.env.TOKENRELAY_BIN) return process.env.TOKENRELAY_BIN
  if (process.env.npm_lifecycle_event !== 'test') build() // npm has, before all files
  return built
}

/**
 * A running relay, with a directory of its own for its sessions. Its streams
 * reconnect after 10 ms, so that many cuts take little time, and it does not
 * wait for them when it is stopped.
 */
export class Relay {
  /** Starts one; flags given override its defaults. */
  static async start(...flags) {
    const relay = new Relay()
    relay.data = mkdtempSync(join(tmpdir(), 'tokenrelay-contract-'))
    // Of a flag that is given twice the last one counts.
    relay.flags = [`--data=${relay.data}`, '--retry=10ms', '--drain=10ms', ...flags]
    relay.log = []
    process.once('exit', () => {
      relay.child.kill('SIGKILL')
      rmSync(relay.data, { recursive: true, force: true })
    })
    await relay.#run('127.0.0.1:0')
    return relay
  }

  async #run(listen) {
    this.child = spawn(binary(), ['serve', `--listen=${listen}`, ...this.flags], { stdio: ['ignore', 'ignore', 'pipe'] })
    const listening = new Promise((resolve, reject) => {
      createInterface(this.child.stderr).on('line', (line) => {
        this.log.push(line)
        const addr = / msg=listening addr=(\S+)/.exec(line)
        if (addr) resolve(addr[1])
      })
      this.child.once('error', reject)
      this.child.once('close', () => reject(new Error(`the relay did not start:\n${this.log.join('\n')}`)))
    })
    this.closed = once(this.child, 'close')
    this.url = `http://${await listening}`
    this.port = Number(new URL(this.url).port)
  }

  /** Kills it (-9) in the middle of everything, and starts it again on the same port and data. */
  async restart() {
    this.child.kill('SIGKILL')
    await this.closed
    await this.#run(`127.0.0.1:${this.port}`)
  }

  /** Tells it to end, and fails unless it ends well and had no error of its own. */
  async stop() {
    this.child.kill('SIGTERM')
    const [code] = await this.closed
    rmSync(this.data, { recursive: true, force: true })
    assert.equal(code, 0, `exit code of the relay:\n${this.log.join('\n')}`)
    assert.deepEqual(this.log.filter((line) => line.includes('level=ERROR')), [])
  }

  /** Asks, and returns status, headers and the decoded JSON. */
  async ask(method, path, body) {
    const answer = await fetch(this.url + path, { method, body: body === undefined ? undefined : JSON.stringify(body) })
    const text = await answer.text()
    return { status: answer.status, headers: answer.headers, body: text === '' ? undefined : JSON.parse(text) }
  }

  /** Asks for what must succeed, and returns the decoded JSON. */
  async must(method, path, body) {
    const answer = await this.ask(method, path, body)
    assert.ok(answer.status < 300, `${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`)
    return answer.body
  }

  /** Creates a session and returns its body. */
  create(spec) {
    return this.must('POST', '/v1/sessions', spec)
  }

  /** The session as it stands. */
  session(id) {
    return this.must('GET', `/v1/sessions/${id}`)
  }

  /** Gives a session a command: append, pause, resume, stop or finish. */
  command(id, name, body) {
    return this.must('POST', `/v1/sessions/${id}/${name}`, body)
  }

  /** Returns the session once it is in a terminal state. */
  async ended(id) {
    const seen = new Set()
    for (const start = Date.now(); Date.now() - start < LIMIT; ) {
      const session = await this.session(id)
      if (session.timings.ended) return session
      seen.add(session.state)
      await new Promise((resolve) => setTimeout(resolve, 5)) // between two looks
    }
    throw new Error(`session ${id} has not ended: ${[...seen]}`)
  }
}

/** A component that is missing skips a test here, and fails it in CI. */
export function needs(t, program) {
  try {
    execFileSync(program, ['--version'], { stdio: 'ignore' })
    return true
  } catch (cause) {
    if (process.env.CI === 'true') throw new Error(`${program} is needed`, { cause })
    t.skip(`${program} is not installed`)
    return false
  }
}
