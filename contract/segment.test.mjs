// Intl.Segmenter, which is ICU, as a second opinion on characters and words.
//
// The boundaries depend on the version of Unicode. What version 17.0 wants is
// pinned by Unicode's own test files beside the chunker, whatever Node there is.
// So a Node of another version is no missing component: here it is asked only
// about texts whose boundaries have long been settled, and the rest is skipped,
// in CI too, and says so.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import { chance, seed } from './chance.mjs'
import { binary } from './relay.mjs'

const options = { timeout: 60_000 }

const UNICODE = '17.0'

// It is a segment of its own, between whatever characters and words.
const separator = '\u2028'

const pick = (random, list) => list[random(0, list.length - 1)]

const emoji = ['👨', '👩', '👧', '🧑', '👍', '🏳', '🏴', '❤', '☎', '©', '🚀', '🌈', '😀', '🐋', '1', '#', '\u200d', '\u200d', '\u200d', '\ufe0f', '\ufe0f',
  '\ufe0e', '\u20e3', '🏽', '🏿', 'a', ' ', '\u{e0067}', '\u{e007f}']
const kinds = {
  // Settled: no version since 11.0 moved a boundary in these.
  emoji: (random) => pick(random, emoji),
  flags: (random) => (random(0, 7) ? String.fromCodePoint(0x1f1e6 + random(0, 25)) : pick(random, [' ', 'a', '\u200d', '\ufe0f', '🏽'])),
  hangul: (random) => pick(random, ['\u1100', '\u1112', '\u115f', '\u1161', '\u1175', '\u11a8', '\u11c2', '\ua960', '\ud7b0', '\ud7cb', '가', '각', '힣',
    '까', '\u0301', ' ', 'a']),
  marks: (random) => pick(random, ['a', 'e', 'Z', ' ', '\u0301', '\u0308', '\u0323', '\u034f', '\u0489', '\u20dd', '\u200d', '\u200c', 'ש', '\u05c1',
    'ب', '\u064e', '中', '\u3099', '가']),
  controls: (random) => pick(random, ['\r', '\n', '\r\n', '\t', '\u0000', '\u001b', '\u007f', '\u0085', '\u2028', '\u2029', '\u00ad', '\u200b',
    '\u200e', '\u2060', '\ufeff', '\u0301', '\u200d', 'a', '👩', ' ']),
  latin: (random) => pick(random, [...'aeiouAEzZ0129 .,;\'"-_!?()', '’', ' ', '\u00a0', 'é', 'ß', 'ж', 'Я', 'λ', '\u0301', '\r\n', '\n', '1.5', "don't",
    'a_b', '3,000', '  ']),
  // Of version 17.0.
  indic: (random) => pick(random, ['क', 'ष', 'त', 'र', 'स', '\u094d', '\u094d', '\u093c', '\u093f', '\u093e', 'ক', '\u09cd', 'ગ', '\u0acd', 'త',
    '\u0c4d', 'ക', '\u0d4d', 'த', '\u0bcd', 'ଓ', '\u0b4d', '\u200d', '\u200c', '\u0301', 'a', ' ', '\u{11013}', '\u{11046}', '\u1b13', '\u1b44',
    '\u1780', '\u17d2', '\u1000', '\u1039', '\u{11f12}', '\u{11f42}']),
  prepended: (random) => pick(random, ['\u0600', '\u0605', '\u06dd', '\u070f', '\u08e2', '\u0d4e', '\u{110bd}', '\u{111c2}', '1', 'a', 'ب', '\u0301',
    '\n', ' ', '👩']),
  punctuation: (random) => pick(random, ['a', 'B', 'ж', '1', '9', 'א', ':', '\ufe13', '\uff1a', '.', '\u2024', '\'', '’', '·', '\u05f4', '"', ',', ';',
    '\u066c', '_', '\u203f', '@', '-', ' ', '\u0301', '\u200d', '\u00ad']),
  // Blocks of many scripts, some code points of one of them.
  scripts: (random, block) => String.fromCodePoint(block + random(0, 0x7f)),
  anything: (random) => {
    const code = random(0, 4) ? random(0, 0x1ffff) : random(0, 0x10ffff)
    return code >= 0xd800 && code <= 0xdfff ? '\ufffd' : String.fromCodePoint(code)
  },
}
const settled = ['emoji', 'flags', 'hangul', 'marks', 'controls', 'latin']
const current = ['indic', 'prepended', 'punctuation', 'scripts', 'anything']

/** Texts of these kinds, each of 1 to 14 of its fragments that are wanted, and how many were not. */
function texts(names, count, random, wanted = () => true) {
  const made = []
  let excluded = 0
  for (const name of names) {
    for (let i = 0; i < count; i++) {
      const block = random(0, 9) < 8 ? random(0, 0x5f) * 0x80 : 0x10000 + random(0, 0x1ff) * 0x80
      let text = ''
      for (let n = random(1, 14); n > 0; ) {
        const piece = kinds[name](random, block)
        if (wanted(piece)) {
          text += piece
          n--
        } else if (++excluded % 64 === 0) {
          n-- // a block may have nothing that is wanted
        }
      }
      if (text) made.push(text)
    }
  }
  return { made, excluded }
}

/** The chunks of all texts, each list on its own, from one run of the binary. */
function chunks(unit, texts) {
  const input = texts.join(separator)
  const lines = execFileSync(binary(), ['chunk', '--unit', unit, '--json'], { input, maxBuffer: 2 ** 30, encoding: 'utf8' })
  return lines.split('\n').slice(0, -1).map((line) => JSON.parse(line).text)
}

/** Fails unless the binary cuts each text as Intl.Segmenter does; returns how many segments there were. */
function compare(unit, granularity, texts) {
  const segmenter = new Intl.Segmenter('en', { granularity })
  const got = chunks(unit, texts)
  let at = 0
  texts.forEach((text, i) => {
    const want = Array.from(segmenter.segment(text), ({ segment }) => segment)
    if (i < texts.length - 1) want.push(separator)
    const same = got.slice(at, at + want.length)
    assert.deepEqual(same.map(escape), want.map(escape), `text ${i}, ${escape(text)}; CONTRACT_SEED=${seed}`)
    at += want.length
  })
  assert.equal(at, got.length)
  return at
}

const escape = (text) => text.replace(/[^ -~]/gu, (c) => `\\u{${c.codePointAt(0).toString(16)}}`)

// Where ICU leaves UAX #29 by design, which leaves these to be tailored: it looks
// words up in a dictionary for scripts that write them without blanks between,
// takes Hangul syllables for such a script, and joins the letters of those of
// South East Asia that it has no dictionary for.
const scripts = ['Han', 'Hiragana', 'Katakana', 'Thai', 'Lao', 'Khmer', 'Myanmar', 'Tai_Le', 'New_Tai_Lue', 'Tai_Tham', 'Tai_Viet', 'Ahom']
const tailored = new RegExp(`[\\uac00-\\ud7a3${scripts.map((name) => `\\p{Script=${name}}`).join('')}]`, 'u')

/** Whether Node has the binary's Unicode; skips the test otherwise. */
function sameUnicode(t) {
  if (process.versions.unicode === UNICODE) return true
  t.skip(`Node ${process.version} has Unicode ${process.versions.unicode}: only a Node with ${UNICODE} has a second opinion on this`)
  return false
}

/** Compares texts of these kinds and says what was compared. */
function opinion(t, unit, granularity, names, count, salt, wanted) {
  const { made, excluded } = texts(names, count, chance(salt), wanted)
  const segments = compare(unit, granularity, made)
  t.diagnostic(`CONTRACT_SEED=${seed}: ${made.length} texts, ${segments} segments, Unicode ${process.versions.unicode}; ${excluded} fragments left out`)
  assert.ok(made.length >= 0.9 * count * names.length, `${made.length} texts`)
}

test('characters that are settled', options, (t) => {
  opinion(t, 'grapheme', 'grapheme', settled, 1500, 80)
})

test('characters of all scripts', options, (t) => {
  if (sameUnicode(t)) opinion(t, 'grapheme', 'grapheme', current, 2500, 81)
})

test('words that are settled', options, (t) => {
  opinion(t, 'word', 'word', settled, 1500, 82, (piece) => !tailored.test(piece))
})

test('words of all scripts', options, (t) => {
  if (sameUnicode(t)) opinion(t, 'word', 'word', current, 2500, 83, (piece) => !tailored.test(piece))
})
