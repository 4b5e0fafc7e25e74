// The tokens of fixed texts by the npm package tiktoken, which is OpenAI's own
// tokenizer compiled to WASM, for chunker/testdata/vectors.jsonl:
//
//   node vectors.mjs --write    makes the file again
//   node vectors.mjs --check    fails unless it would come out as it is
//
// The texts are the same for ever: lists, and chance with a fixed seed. Each
// line holds one, with the ids of encode_ordinary, to which special tokens are
// plain text. The first line says what the file was made by. o200k_harmony is
// not in the package; for ordinary text it is o200k_base.
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { get_encoding } from 'tiktoken'
import { fixed } from './chance.mjs'
import { GO_UNICODE, newerThanGo } from './unicode.mjs'

const ENCODINGS = ['cl100k_base', 'o200k_base']

/** The file kept in the repository. */
export const kept = fileURLToPath(new URL('../chunker/testdata/vectors.jsonl', import.meta.url))

let random // begins anew with each make
const pick = (list) => list[random(0, list.length - 1)]
const times = (n, make) => Array.from({ length: n }, (_, i) => make(i))
const glue = (least, most, make) => times(random(least, most), make).join('')

// Drawn code points that are newer than Go's tables are drawn again: OpenAI's
// build knows some of them, and the chunker cuts by Go's classes.
let newer

/** A code point from first to last, no surrogate and none newer than Go's tables. */
function character(first, last) {
  for (;;) {
    const code = random(first, last)
    if (code >= 0xd800 && code <= 0xdfff) continue
    if (!newerThanGo(code)) return String.fromCodePoint(code)
    newer++
  }
}

const words = `the of and a in that it was his with as for had you not be on at by she which or we an there so all one no were if they would from when
  what said out up about into them can only other time new some could these two may then do first any my now such like our over man even most made
  after also did many before must through years where much way well down should because each just those people how too little state good very make
  world still own see men work long get here between both life being under never day same another know while last might us great old year off come
  since against go came right used take three states himself few house use during without again place American around however home small found Mrs
  thought went say part once general high upon school every tide moon gravity ocean water Earth sun pulls shore twice because`.split(/\s+/)

const scripts = {
  latin: [0x41, 0x7a], latin1: [0xa0, 0xff], extended: [0x100, 0x24f], ipa: [0x250, 0x2ff], greek: [0x370, 0x3ff], cyrillic: [0x400, 0x52f],
  armenian: [0x531, 0x58a], hebrew: [0x591, 0x5f4], arabic: [0x600, 0x6ff], syriac: [0x700, 0x74f], devanagari: [0x900, 0x97f], bengali: [0x980, 0x9fe],
  tamil: [0xb82, 0xbfa], telugu: [0xc00, 0xc7f], thai: [0xe01, 0xe5b], lao: [0xe81, 0xedf], tibetan: [0xf00, 0xfda], myanmar: [0x1000, 0x109f],
  georgian: [0x10a0, 0x10ff], jamo: [0x1100, 0x11ff], ethiopic: [0x1200, 0x139f], cherokee: [0x13a0, 0x13fd], khmer: [0x1780, 0x17f9],
  vietnamese: [0x1e00, 0x1eff], polytonic: [0x1f00, 0x1ffe], punctuation: [0x2000, 0x206f], currency: [0x20a0, 0x20c0], letterlike: [0x2100, 0x218b],
  arrows: [0x2190, 0x23ff], boxes: [0x2500, 0x27bf], kana: [0x3040, 0x30ff], bopomofo: [0x3105, 0x312f], han: [0x4e00, 0x9fff], hangul: [0xac00, 0xd7a3],
  private: [0xe000, 0xe0ff], presentation: [0xfb00, 0xfdff], halfwidth: [0xff01, 0xffee], gothic: [0x10330, 0x1034a], deseret: [0x10400, 0x1044f],
  cuneiform: [0x12000, 0x12399], mathematical: [0x1d400, 0x1d7ff], tiles: [0x1f000, 0x1f1ff], emoji: [0x1f300, 0x1f6d7], pictographs: [0x1f900, 0x1f9ff],
  extensionB: [0x20000, 0x2a6df], tags: [0xe0001, 0xe007f], selectors: [0xe0100, 0xe01ef],
}

// Some of each general category.
const categories = {
  Lu: 'AZÀĀΩЖԱႠḀ\u{10400}𝐀', Ll: 'azßāωжաḁﬁ\u{10428}𝐚', Lt: 'ǅǈǋǲᾈᾨᾼ', Lm: 'ʰʼˆˠͺՙـๆゝーꞈ', Lo: 'ªºƻאعअกᄀあア语가\u{20000}',
  Mn: '\u0300\u0301\u0489\u05b0\u064b\u093c\u0e31\u20dd\u3099\ufe0f\u{e0100}', Mc: '\u0903\u093e\u0b3e\u102b\u17b6\u{11000}',
  Me: '\u0488\u0489\u20dd\u20e0\ua670',
  Nd: '09٠٩०९๐０𝟎\u{1d7d8}', Nl: 'ⅠⅧↀ〇〡\u{10140}', No: '²³¹¼½①⑳㉈\u{1f100}',
  Pc: '_‿⁀﹍＿', Pd: '-‐–—〜－', Ps: '([{‚„⁅「（', Pe: ')]}⁆」）', Pi: '«‘“‹⸂', Pf: '»’”›⸃', Po: '!"#%&\'*,./:;?@\\¡§¶؟।…‰、。！',
  Sm: '+<=>|~¬±×÷∀∞＋', Sc: '$¢£¤¥€₹₿＄', Sk: '^`¨¯´˘˜゛\u{1f3fb}\u{1f3ff}', So: '¦©®°№℃☃♥✓㊗😀\u{1f1e9}',
  Zs: ' \u00a0\u1680\u2000\u2003\u200a\u202f\u205f\u3000', Zl: '\u2028', Zp: '\u2029',
  Cc: '\u0000\u0001\t\n\v\f\r\u001b\u007f\u0080\u0085\u009f', Cf: '\u00ad\u0600\u061c\u200b\u200c\u200d\u200e\u202e\u2060\ufeff\u{e0001}',
  Co: '\ue000\uf8ff\u{f0000}\u{10fffd}',
  Cn: '\ufdd0\uffff\u{1ffff}\u{effff}',
}

// What is glued together at random.
const fragments = [
  'the ', 'Hello', ' world', 'ing', 'ABC', 'XMLHttp', " don't", "'s", "'LL", "'re", "'ſ", "'", '’s', '. ', ', ', '?!', '...', '"', '(', ')', '/', '//',
  '\\', '0', '42',
  '1234', ' 7', '½', '٣', '\n', '\n\n', '\r\n', '\r', ' ', '  ', '    ', '\t', '\n    ', '\n\t', ' \n', '\u00a0', '\u3000', '\u0085', '\u2028',
  '\u2003', 'func (s *T) ', '{\n\t',
  '}\n', ' := ', '!=', '<|endoftext|>', '<|fim_middle|>', '<|', '----', '====', '# ', '* ', '| --- |', '```go\n', 'https://a.b/c?d=e&f=%20', '世界', '你',
  '，', '。', '日本語テスト',
  'ー', '한국어', 'ᄀ', '亚洲', 'AV', 'APP', '无码', 'é', 'e\u0301', '\u0301', '\u0489', 'ß', 'ǅ', 'ʰ', 'ª', 'Ω', 'ж', 'ЖУК', 'ไทย', 'हिन्दी', '्', 'क', 'ا',
  'ל', '😀', '👨‍👩‍👧', '👍🏽', '🇩🇪', '🇩',
  '❤️', '\u200d', '\ufe0f', '🏽', '1️⃣', '\ufffd', '\ufeff', '\u200b', '\u0000', '\u007f', '𝒳', '𠀀', '\u00ad',
]

const sentence = () =>
  times(random(4, 14), () => pick(words)).join(' ').replace(/^./, (c) => c.toUpperCase()) + pick(['.', '.', '.', '!', '?', '…', '."', ';'])

const statement = () =>
  '\t'.repeat(random(0, 3)) + pick(['', '    ', '  ']) + pick(words) + pick(['(', '[', '.', '_', '::', ' := ', ' = ', ' += ', '->']) + pick(words) +
  pick([')', ');', '{', '}', ']', ', ', ' // ' + pick(words), '']) + pick(['\n', '\n', '\r\n', '\n\n'])

const kinds = {
  prose: () => [
    '', 'a', 'Hello, world!', "It's 12345 o'clock, isn't it?", 'The moon pulls at the sea; the sea follows.',
    '“Why tides?” she asked. “Because,” he said — and smiled.',
    'naïve café, Grüße aus Köln, ¿qué tal?, Ça va très bien, žluťoučký kůň', 'Съешь же ещё этих мягких французских булок', 'Τα πάντα ῥεῖ καὶ οὐδὲν μένει',
    'שלום עולם, מה שלומך?', 'السلام عليكم ورحمة الله', 'नमस्ते दुनिया, आप कैसे हैं?', 'สวัสดีชาวโลก', 'Xin chào thế giới', 'გამარჯობა მსოფლიო',
    'Բարեւ աշխարհ', 'ሰላም ልዑል',
    ...times(90, () => times(random(1, 3), sentence).join(pick([' ', ' ', '\n', '\n\n', '  ']))),
  ],
  code: () => [
    'func main() {\n\tfmt.Println("Hello, 世界")\n}\n', 'if err != nil {\n\t\treturn fmt.Errorf("read %s: %w", name, err)\n\t}',
    'for (let i=0;i<10;i++){a[i]*=2;}\n', 'def f(x):\n    """Doc."""\n    return x**2  # square\n\n\n',
    '#include <stdio.h>\r\nint main(void)\r\n{\r\n    return 0;\r\n}\r\n', 'SELECT * FROM t WHERE a = \'b\' AND c <> 1;',
    '<div class="a b">&nbsp;<br/></div>', '{"k": [1, 2.5, -3e10], "n": null}', 'x == y && !z || (a ^ b) >> 2',
    '// comment\n/\r\n/x', 'a/\n/b', '?!\n\n//\n x', '/*\n * block\n */', '$HOME/bin:/usr/local/bin', 'https://example.org/path/to?a=1&b=2#frag',
    'HTTPServer XMLHttpRequest iPhone camelCase snake_case SCREAMING_CASE kebab-case',
    'git commit -m "x: y" -- a/b.go', '| a | b |\n| --- | --- |\n| 1 | 2 |\n', '```js\nconst f = (x) => x?.y ?? z\n```\n', '\t\t\tif (x)\n\t\t\t\ty();\n',
    ...times(70, () => glue(3, 9, statement)),
  ],
  cjk: () => [
    '世界你好，今天天气不错。', '亚洲AV', '亚洲AV!', '亚洲AVs!', ' 天天中彩票APP下载', '無料ABCdef', '日本語のテキストです。カタカナ、ひらがな、漢字。', '吾輩は猫である。名前はまだ無い。', '한국어 텍스트입니다. 안녕하세요!',
    'ㄱㄴㄷ 각 ᄀ\u1161\u11a8', '中文English混排123数字，标点。',
    '微信公众号', '「引用」『二重』（括弧）', '株式会社ＡＢＣ', '々〆〇', 'ﾊﾝｶｸ ｶﾅ', '北京市朝阳区2026年11月21日',
    ...times(60, () => glue(5, 40, () => (random(0, 9) ? character(0x4e00, 0x9fa5) : pick(['，', '。', '、', '！', 'A', 'b', ' ', '1', '的', '\n'])))),
    ...times(25, () => glue(5, 30, () => (random(0, 2) ? character(0x3041, 0x30fe) : character(0x4e00, 0x9fa5)))),
    ...times(25, () => glue(5, 30, () => (random(0, 6) ? character(0xac00, 0xd7a3) : ' '))),
  ],
  caseless: () => [
    ...['AV', 'AVs', 'AVs!', 'AV!', 'Av', 'aV', 'A', 'a', 'AB\u0301C', "AV's", "AVs'S", 'AV1', 'AV\n', 'AV /'].flatMap((tail) => ['亚洲', '语', 'ʰ', 'ª',
      '\u0301', 'ǅ', 'ー'].map((head) => head + tail)),
    ...times(80, () => glue(2, 12, () => pick(['A', 'B', 'c', 'd', '世', '界', 'ǅ', 'ʰ', '\u0301', "'s", "'LL", ' ', '1']))),
  ],
  emoji: () => [
    '👨‍👩‍👧‍👦 🇩🇪🇫🇷🇩 👍🏽 ❤️ 🏴󠁧󠁢󠁥󠁮󠁧󠁿 1️⃣', '👩🏿‍🤝‍👨🏻', '👁️‍🗨️', '🏳️‍🌈🏳️‍⚧️', '❤️‍🔥', 'a🏽', '\u200d👩', '👩\u200d', '🇩🇪🇫', '#️⃣*️⃣0️⃣', '😀😃😄', 'ok 👍 done ✅', '☎︎ ☎️',
    ...times(70, () => glue(1, 8, () => pick([
      character(0x1f300, 0x1f64f), character(0x1f680, 0x1f6c5), character(0x1f90c, 0x1f9ff), character(0x1f1e6, 0x1f1ff), '\u200d', '\ufe0f', '🏽', '👩', '👨', '❤️', ' ', 'ok',
    ]))),
  ],
  contractions: () => [
    ...["'s", "'S", "'ſ", "'t", "'T", "'re", "'RE", "'Re", "'ve", "'vE", "'m", "'M", "'ll", "'LL", "'lL", "'d", "'D"].flatMap((c) => [`we${c}`,
      `WE${c}`, c, `x${c}up`, ` ${c}`, `9${c}`, `中${c}`, `\n${c}b`]),
    "'", "''", "''s", "'r", "'v", "'l", "'x", "'sup", "we'r", "we'", "we'l l", 'it’s ’twas', "it'ſup 'ſ ſ's ſſ", "'e\u0301", "e\u0301's", "I'D've'll",
    "rock'n'roll o'clock O'Brien's",
  ],
  // Every combination of two blanks, a line feed and a letter up to length 5, eight to a text.
  blanks: () => {
    const all = []
    const signs = [' ', '\n', '\t', 'x']
    for (let length = 1; length <= 5; length++) {
      for (let i = 0; i < signs.length ** length; i++) {
        all.push(times(length, (place) => signs[Math.floor(i / signs.length ** place) % signs.length]).join(''))
      }
    }
    const joined = []
    while (all.length) joined.push(all.splice(0, 8).join(['|', '1', 'z'][joined.length % 3]))
    const ends = ['', 'a', '.', '1', '语'].flatMap((head) => [' ', '  ', '\n', '\n ', '\n  ', ' \n', ' \n ', '\r\n', '\r\n  ', '\t', '\n\n', ' \u00a0',
      '\u3000', '\u0085', '\u2028 ', '\r', '\n\r'].map((end) => head + end))
    const wide = ['\u00a0x', '\u3000\u3000x', 'a\u0085b', '\u2028a\u2029 \u0085', ' \u00a0 ', '\u00a0.', ' .', '  .', '. .', 'x  12', 'x 12',
      ' \u00a0x', '\u00a0 x', '\u1680x', '\u180ex', '\u200bx', '\ufeff x']
    const mixed = [' ', ' ', '\n', '\r', '\t', '\u00a0', 'x', '.', '/', '5', '\u3000', '\u0301']
    return [...joined, ...ends, ...wide, ...times(40, () => glue(3, 16, () => pick(mixed)))]
  },
  marks: () => [
    'e\u0301a\u0301\u0301 \u0301 \u0301a .\u0301b ..\u0301c\u0301', '\u0301AB', '\u0301\u0301AB\u0301CD', 'A\u0301BC', ' \u0301AB', '.\u0301AB',
    '1\u0301', '\n\u0301a', 'क्षि स्त्री', 'ก็ ลำ', 'ب\u064eت', 'שָׁלוֹם', 'Z\u0335\u0321a\u0336\u0322l\u0337g\u0338o\u0323',
    ...times(50, () => glue(2, 12, () => pick(['a', 'B', '\u0301', '\u0489', '\u0903', '.', ' ', '1', "'", '中', '\n']))),
  ],
  specials: () => [
    ...['<|endoftext|>', '<|endofprompt|>', '<|fim_prefix|>', '<|fim_middle|>', '<|fim_suffix|>', '<|im_start|>', '<|im_end|>', '<|start|>',
      '<|channel|>', '<|message|>', '<|return|>', '<|reserved_200000|>'].flatMap((s) => [s, `a${s}b`, ` ${s}\n`]),
    '<|endoftext|><|endoftext|>', '<|endoftext', 'endoftext|>', '<| endoftext |>', '<|fim_suffix|>abc<|endoftext|>', '[DONE]', 'data: [DONE]\n\n',
    '<s></s>', '[INST]',
  ],
  numbers: () => [
    '1', '12', '123', '1234', '1234567', '3.14159', '1,000,000', '-1e-10', '0x1F', '٣٤٥٦', '½²Ⅷ', '१२३४', '１２３４', '1a2b3c', '2026-11-21T12:00:00Z',
    '192.168.0.1', ' 1 12 123 1234', '𝟎𝟏𝟐𝟑',
    ...times(25, () => times(random(1, 4), () => String(random(0, 10 ** random(1, 9)))).join(pick([' ', ',', '.', '-', '']))),
  ],
  categories: () => Object.values(categories).flatMap((list) => {
    const each = (make) => [...list].map(make).join('')
    return [list, [...list].join(' '), each((c) => `a${c}`), each((c) => ` ${c}B`), each((c) => `1${c}\n`)]
  }),
  scripts: () => Object.values(scripts).flatMap(([first, last]) => {
    const one = () => (random(0, 5) ? character(first, last) : pick([' ', 'a', 'A', '1', '.', '\n']))
    return times(4, () => glue(4, 16, one))
  }),
  anything: () => times(60, () => glue(2, 14, () => (random(0, 2) ? character(0, 0x2fff) : character(0, 0x10ffff)))),
  mixture: () => [...times(150, () => glue(2, 10, () => pick(fragments))), ...times(20, () => glue(30, 60, () => pick(fragments)))],
  base64: () => times(12, () => glue(20, 200, () => pick([...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'])) + pick(['', '=', '=='])),
  long: () => [
    ...['a', 'A', ' ', '\n', '-', '=', '.', 'ab', 'aB', 'é', 'ж', '-=', '\t', ' \n', '\n       ', '哈', '语', '😀', '\u0301', "'", '!?', '_', '0', 'ha',
      'ACGT', '\u3000'].flatMap((s) => {
      const bytes = Buffer.byteLength(s)
      return [Math.floor(random(60, 200) / bytes), Math.floor(random(500, 900) / bytes)].map((n) => s.repeat(n))
    }),
    ...['aeiourstln', '天地玄黄宇宙洪荒', 'ACGT', 'abcdefghijklmnopqrstuvwxyz', '=-', 'жзик'].flatMap((letters) => {
      const list = [...letters]
      return times(4, () => times(Math.floor(random(200, 900) / Buffer.byteLength(list[0])), () => pick(list)).join(''))
    }),
  ],
  // Longer than the chunker holds. Of the last two no token is certain before it
  // must end a piece: where letters without case and capitals end decides.
  past: () => ['a'.repeat(1500), '语'.repeat(400), ' '.repeat(1200) + 'x', ...['s', '!'].map((end) => '亚洲' + 'AV'.repeat(600) + end)],
}

/** Returns the lines of the file, and how often a code point was drawn again. */
export function make() {
  random = fixed(20261121)
  newer = 0
  const encoders = ENCODINGS.map((name) => [name, get_encoding(name)])
  const seen = new Set()
  const vectors = []
  for (const [kind, texts] of Object.entries(kinds)) {
    for (const text of texts()) {
      if (Buffer.from(text).toString() !== text) throw new Error(`${kind}: ${JSON.stringify(text)} has half a surrogate pair`)
      for (const c of text) if (newerThanGo(c.codePointAt(0))) throw new Error(`${kind}: ${JSON.stringify(text)} is newer than Unicode ${GO_UNICODE}`)
      if (seen.has(text)) continue
      seen.add(text)
      vectors.push({ kind, text, ...Object.fromEntries(encoders.map(([name, encoder]) => [name, [...encoder.encode_ordinary(text)]])) })
    }
  }
  for (const [, encoder] of encoders) encoder.free()
  const { version } = JSON.parse(readFileSync(new URL('node_modules/tiktoken/package.json', import.meta.url)))
  const head = { tiktoken: version, unicode: GO_UNICODE, vectors: vectors.length, drawn_again: newer }
  return [head, ...vectors].map(line)
}

/** JSON in ASCII, so that no editor joins, turns or hides what the texts are about. */
function line(value) {
  return JSON.stringify(value).replace(/[^ -~]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** Returns what differs between the kept file and what would be written, empty if nothing. */
export function check(lines) {
  const had = readFileSync(kept, 'utf8').trimEnd().split('\n')
  const differing = lines.flatMap((line, i) => (line === had[i] ? [] : [`line ${i + 1}: kept ${had[i]?.slice(0, 200)}\n         made ${line.slice(0, 200)}`]))
  if (had.length !== lines.length) differing.push(`${had.length} lines are kept, ${lines.length} were made`)
  return differing
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const lines = make()
  const [mode] = process.argv.slice(2)
  if (mode === '--write') {
    writeFileSync(kept, lines.join('\n') + '\n')
  } else if (mode === '--check') {
    const differing = check(lines)
    if (differing.length) console.error(`${differing.length} differences:\n${differing.slice(0, 5).join('\n')}\nnode vectors.mjs --write makes the file again`)
    process.exitCode = differing.length ? 1 : 0
  } else {
    console.error('usage: node vectors.mjs --write | --check')
    process.exitCode = 2
  }
  console.log(lines[0])
}
