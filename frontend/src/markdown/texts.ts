/** Markdown as answers have it, and worse, for tests. */

export const TEXTS: Record<string, string> = {
  answer: `# Pausing

A **pause** is *exact*: the reader lets go of the line, and \`Continue\` asks again after the cursor. See [the protocol](https://example.com/protocol "The protocol").

## How

1. The page keeps the id of the last token drawn.
2. It closes the line:
   \`\`\`ts
   controller.abort();
   \`\`\`
3. It asks again:

   \`\`\`bash
   curl -N -H 'Last-Event-ID: 57' https://example.com/v1/sessions/s1/events
   \`\`\`

| Case | Lost | Repeated |
| :--- | ---: | :---: |
| reset | 0 | 0 |
| clean end | **0** | \`0\` |
| a \\| b | [x](https://example.com) | ~~1~~ |

> **Note**
> It is the *server* that keeps the text.
>
> - for an hour
> - or longer

---

\`\`\`go
func (l *Log) After(id FrameID) ([]Frame, <-chan struct{}) {
	return l.frames[id:], l.changed // shared
}
\`\`\`

That is all.`,
  'task lists': '- [ ] open\n- [x] done\n- [X] done too\n\n  with a paragraph\n- [ ]\n- [] none\n1. [ ] numbered\n',
  'nested lists': '- a\n  - b\n    - c\n\n      deep\n    - d\n  - e\n- f\n\n\n* other\n* list\n\n  1. one\n  2) two\n\n  3. three\n10. ten\n',
  'loose late': '- a\n- b\n- c\n\n- d\n- e\n\ntext\n\n3) x\n4) y\n\n5) z\n',
  'list of code': '- a:\n\n      indented\n\n- b:\n  ~~~js\n  let x = 1\n\n  let y\n  ~~~\n- c\n',
  'indented list': '   - a\n   - b\n\n   - c\n  - d\n - e\n',
  tables: 'a | b\n--|--\n1 | 2\n3\n\n| x |\n|---|\n| 1 | 2 |\n| `a|b` |\nend\n\n| no | table |\n| here |\n\n|a|\n|:-:|\n> quote\n\nText:\n| h | i |\n| - | - |\n| 1 | 2 |\n- list\n',
  fences:
    '```\nplain\n```\n````md\n```js\nx\n```\n````\n~~~ python title="a b" {1,3}\nprint(1)\n~~~\n```c++ \nint x;\n``` \n ```\n indented\n ```\n```js {"a":1}\nlet `x`\n``\n```` \n``` a`b\nnot a fence\n```nope"><b>\n<b>\n```\n```\n\n\n```\n```html\n<p>\n\nunclosed',
  'empty fences': '```\n```\n\n```js\n```\n```py\n\n',
  emoji: 'Hi 👋🏽 **👩‍👩‍👧** `🇩🇪` [🙂](https://example.com/🙂)\n\n- 1️⃣\n- é é\n',
  CJK: '**中文**之后 *日本語*です。[リンク](https://example.com/日本)\n\n1. 第一\n2. 第二\n\n| 列 | 值 |\n|---|---|\n| 한국어 | 好 |\n',
  RTL: '# שלום\n\n**مرحبا** بالعالم `code` [رابط](https://example.com)\n\n- א\n- ب\n',
  CRLF: '# a\r\n\r\nb\r\nc  \r\nd\r\n\r\n- e\r\n- f\r\n\r\n```js\r\nlet x\r\n```\r\n\r| a |\r|---|\r| 1 |\r',
  NUL: 'a\0b **c\0** `\0`\n\n```\n\0\n```\n',
  setext: 'Title\n=====\n\nTwo\nlines\n---\n\nnot\n- a list\n\nFoo\n***bar***\n\n---\nlast\n-',
  html: '<div>\n\n*a*\n\n</div>\n\n<p align="center">x <img src="https://example.com/x.png" alt="pic"> y</p>\n\n<!-- a\n\nb -->\n\na <b>b</b> <sub>c</sub><br>d <span>e</span>\n\n<pre>\n\nx\n</pre>\n<details>\n<summary>S</summary>\n\nmore\n</details>\n',
  'html that breaks out': '- a</ul>b\n- c</li></ul><p>d\n\n  </ul></li><h2>x\n- e <b>f\n\n| a | b |\n|--|--|\n| </table>x | </td></tr><td>y |\n| <b>z | 1 |\n\n> </blockquote>q\n\n`</code>` <code></ul x></code>\n',
  definitions: 'See [a], [b][c] and [d] and ![e].\n\n- [a]\n- [c]\n- x\n\n[a]: https://example.com/a\n[c]: <https://example.com/c>\n  "title"\n\nmore [d]\n\n[A]: https://example.com/second\n[d]:\n/relative\n\n[e]: https://example.com/e.png\n',
  links: '<https://example.com> https://example.com/a_b_c. www.example.com me@example.com [x](mailto:me@example.com) [[y]](https://example.com/(z)) [rel](/a) [![badge](https://example.com/b.svg)](https://example.com) ![alt *text*](https://example.com/i.png "t")',
  emphasis: '***a** b* __c__ _d_ snake_case_name 2 * 3 * 4 **a*b** ~~x~~ ~y~ **un\n\n*closed `code\n\n[half](https://example.com\n\n![half\n\n<b\n',
  'long lines': `${'word and '.repeat(1200)}\n\n- ${'item and **bold** '.repeat(600)}\n- b\n\n${'x'.repeat(9000)}\n\n> ${'quote '.repeat(1500)}\n> end\n\n\`\`\`\n${'code '.repeat(1500)}\n\`\`\`\n`,
  'many items': `${Array.from({ length: 60 }, (_, i) => `${i + 1}. item **${i}** with \`code\`\n`).join('')}\ndone`,
  'many rows': `| a | b |\n|---|---|\n${Array.from({ length: 50 }, (_, i) => `| ${i} | **x** |\n`).join('')}\ndone`,
  'blank lines': '\n\n  \n\ta\n\n\n\n   b\n \n\n',
};
