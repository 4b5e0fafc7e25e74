// Chance that can be had again: CONTRACT_SEED repeats a run.

/** The seed of this run, to be printed with each test that leaves something to it. */
export const seed = Number(process.env.CONTRACT_SEED ?? Math.floor(Math.random() * 2 ** 31))

/** Returns a function that yields whole numbers from low to high. */
export function chance(salt = 0) {
  return fixed(seed + Math.imul(salt, 0x9e3779b9))
}

/** The same, whatever the seed of the run: one start gives one sequence, for ever. */
export function fixed(start) {
  let a = start | 0
  // mulberry32
  const next = () => {
    a = (a + 0x6d2b79f5) | 0
    let x = Math.imul(a ^ (a >>> 15), 1 | a)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32
  }
  return (low, high) => low + Math.floor(next() * (high - low + 1))
}

// What breaks streams that are cut, joined or escaped carelessly.
const pieces = [
  'plain ', 'words ', 'and more of them ', 'naïve café ', 'Grüße ', 'cafe\u0301 ', '日本語', 'русский ', 'עברית ', 'हिन्दी ',
  '👩‍👩‍👧', '🏳️‍🌈 ', '👍🏽', '𝒳', '\r\n', '\n', '\n\n', '\r', '\t', '"quoted" ', "it's ", '\\', '\\u0041 ', '{"text":"x"} ', 'data: ', 'id: 7\n', ': ka\n',
  '\u0000', '\u0085', '\u2028', '\u2029', '\ufeff', '<b>&amp;</b> ', '[DONE]', '```go\nfunc main() {}\n```\n', 'https://example.org/?a=1&b=2 ',
]

/** A text of about size UTF-16 units in many scripts, the same for one seed. */
export function text(size, random) {
  let out = ''
  while (out.length < size) out += pieces[random(0, pieces.length - 1)]
  return out
}
