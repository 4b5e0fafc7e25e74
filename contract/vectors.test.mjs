// npm tiktoken 1.0.22, OpenAI's tokenizer compiled to WASM: the vectors that the
// chunker is tested against are what it gives.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { check, make } from './vectors.mjs'

test('the kept vectors are those of tiktoken', (t) => {
  const lines = make()
  const head = JSON.parse(lines[0])
  t.diagnostic(`${head.vectors} texts, tiktoken ${head.tiktoken}; ${head.drawn_again} code points newer than Unicode ${head.unicode} drawn again`)
  const differing = check(lines)
  assert.equal(differing.length, 0, `${differing.length} differences; node vectors.mjs --write makes the file again:\n${differing.slice(0, 5).join('\n')}`)
  assert.deepEqual(make(), lines, 'made twice')
})
