// A relay of TCP on loopback that resets connections at random bytes.
import { createServer, connect } from 'node:net'
import { once } from 'node:events'
import { chance } from './chance.mjs'

/**
 * Passes connections on to a port of loopback. Each of the first `cuts`
 * connections is reset (RST, not FIN) after a random number of bytes from the
 * server, wherever that falls: in the head, in an event, in a character.
 * `place` chooses it, for the cut of that number, by a function that yields
 * whole numbers from low to high. With no cuts it only watches.
 */
export class Cutter {
  static async start({ port, cuts = 0, place, salt = 0, onData = () => {} }) {
    const cutter = new Cutter()
    cutter.random = chance(salt)
    Object.assign(cutter, { port, cuts, place, onData, begun: 0, made: 0, inEvent: 0, left: 0, open: new Set() })
    cutter.server = createServer({ noDelay: true }, (client) => cutter.#pass(client))
    cutter.server.listen(0, '127.0.0.1')
    await once(cutter.server, 'listening')
    cutter.url = `http://127.0.0.1:${cutter.server.address().port}`
    return cutter
  }

  #pass(client) {
    const server = connect({ port: this.port, host: '127.0.0.1', noDelay: true })
    for (const socket of [client, server]) {
      this.open.add(socket)
      socket.on('error', () => {}) // close follows
      socket.on('close', () => this.open.delete(socket))
    }
    let rest = Infinity // bytes until the cut
    if (this.begun < this.cuts) rest = this.place(this.random, this.begun++)
    let passed = Buffer.alloc(0) // the last of what has been
    client.pipe(server)
    client.on('close', () => {
      if (!server.destroyed) this.left++ // the client went first
      server.destroy()
    })
    server.on('end', () => client.end())
    server.on('close', () => rest > 0 && client.destroySoon())
    server.on('data', (data) => {
      if (rest <= 0) return
      const part = data.subarray(0, rest)
      rest -= part.length
      passed = Buffer.concat([passed, part]).subarray(-4096)
      this.onData(part)
      if (rest > 0) {
        if (!client.write(part)) {
          server.pause()
          client.once('drain', () => server.resume())
        }
        return
      }
      this.made++
      if (insideEvent(passed)) this.inEvent++
      client.write(part, () => {
        client.resetAndDestroy()
        server.destroy()
      })
    })
  }

  /** Breaks off all connections and takes no more. */
  async close() {
    this.server.close()
    for (const socket of this.open) socket.destroy()
    if (this.server.listening) await once(this.server, 'close')
  }
}

// Whether the bytes end in mid-event: after the last empty line comes more than
// what frames a chunk of HTTP.
function insideEvent(bytes) {
  const text = bytes.toString('latin1')
  const at = text.lastIndexOf('\n\n')
  return at >= 0 && !/^(\r\n([0-9a-f]*(\r\n?)?)?)?$/.test(text.slice(at + 2))
}
