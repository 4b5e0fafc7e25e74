/** Tokens to HTML, which is not safe yet. */

import { Parser, Renderer, type MarkedToken, type Tokens } from 'marked';
import { clean, disarm } from './sanitise.ts';

/** The level that an answer's heading is shown at: the page has the first to itself. */
function lower(level: number): number {
  return Math.min(6, level + 1);
}

/** The tags that may stand in a line. Any other could end the element that the line is in. */
const INLINE_TAG = /^<\/?(?:a|abbr|b|br|code|del|em|i|ins|kbd|mark|s|samp|small|strong|sub|sup|u|var)[\s/>]/i;

/** It writes no white space between elements: each node that is drawn means something. */
class AnswerRenderer extends Renderer {
  #inLink = false;

  override heading({ tokens, depth }: Tokens.Heading): string {
    const level = lower(depth);
    return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>`;
  }

  override paragraph({ tokens }: Tokens.Paragraph): string {
    return `<p>${this.parser.parseInline(tokens)}</p>`;
  }

  override blockquote({ tokens }: Tokens.Blockquote): string {
    return `<blockquote>${this.parser.parse(tokens)}</blockquote>`;
  }

  override hr(): string {
    return '<hr>';
  }

  override list({ ordered, start, items }: Tokens.List): string {
    const content = items.map((item) => this.listitem(item)).join('');
    return ordered ? `<ol${start === 1 ? '' : ` start="${start}"`}>${content}</ol>` : `<ul>${content}</ul>`;
  }

  override listitem(item: Tokens.ListItem): string {
    return `<li${item.task ? ' class="task"' : ''}>${this.parser.parse(item.tokens)}</li>`;
  }

  override checkbox({ checked }: Tokens.Checkbox): string {
    return checked ? '☑ ' : '☐ ';
  }

  override table({ header, rows }: Tokens.Table): string {
    const row = (cells: Tokens.TableCell[]): string => `<tr>${cells.map((cell) => this.tablecell(cell).trim()).join('')}</tr>`;
    return `<table><thead>${row(header)}</thead><tbody>${rows.map(row).join('')}</tbody></table>`;
  }

  override code({ text, lang }: Tokens.Code): string {
    const language = /^\S*/.exec(lang ?? '')?.[0];
    return `<pre><code${language ? ` class="language-${escape(language)}"` : ''}>${escape(text.replace(/\n$/, ''))}</code></pre>`;
  }

  override link(token: Tokens.Link): string {
    const outer = this.#inLink;
    this.#inLink = true;
    try {
      return super.link(token);
    } finally {
      this.#inLink = outer;
    }
  }

  /** An image is a link to its address: nothing is loaded from anywhere. In a link it is its text. */
  override image({ href, title, text, tokens }: Tokens.Image): string {
    const alt = this.parser.parseInline(tokens, this.parser.textRenderer) || text || 'image';
    if (this.#inLink) return escape(alt);
    return this.link({ type: 'link', raw: '', href, title, text: alt, tokens: [{ type: 'text', raw: alt, text: alt, escaped: false }] });
  }

  /** HTML of the source's own. It leaves no element open around what follows, and closes none that is not its own. */
  override html({ text, block }: Tokens.HTML | Tokens.Tag): string {
    if (block || /^<img\s/i.test(text)) return clean(text.replace(/(<\/?h)([1-6])(?=[\s/>])/gi, (_, tag: string, level) => tag + lower(Number(level))));
    return INLINE_TAG.test(text) ? disarm(text) : '';
  }

  /** In an element like code, marked gives the source's text as it stands. */
  override text(token: Tokens.Text | Tokens.Escape): string {
    if (!('escaped' in token && token.escaped === true)) return super.text(token);
    return token.text.replace(/[<>"']/g, (character) => ENTITIES[character] ?? character);
  }
}

const parser = new Parser({ gfm: true, renderer: new AnswerRenderer() });

/** The HTML of one block. It may hold whatever the source held, but what it opens it closes. */
export function html(token: MarkedToken): string {
  return parser.parse([token]);
}

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? character);
}
