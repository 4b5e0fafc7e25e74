/** Tokens to HTML that is not safe yet. */

import { Parser, Renderer, type MarkedToken, type Tokens } from 'marked';

/** How many levels lower than its own an answer's heading is shown: the page has the first to itself. */
const LOWER = 1;

class AnswerRenderer extends Renderer {
  #inLink = false;

  override heading({ tokens, depth }: Tokens.Heading): string {
    const level = Math.min(6, depth + LOWER);
    return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>`;
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
    const link: Tokens.Link = { type: 'link', raw: '', href, title, text: alt, tokens: [{ type: 'text', raw: alt, text: alt, escaped: false }] };
    return this.#inLink ? escape(alt) : this.link(link);
  }

  override listitem(item: Tokens.ListItem): string {
    return `<li${item.task ? ' class="task"' : ''}>${this.parser.parse(item.tokens)}</li>`;
  }

  override checkbox({ checked }: Tokens.Checkbox): string {
    return checked ? '☑ ' : '☐ ';
  }

  override code({ text, lang }: Tokens.Code): string {
    const language = /^\S*/.exec(lang ?? '')?.[0];
    return `<pre><code${language ? ` class="language-${escape(language)}"` : ''}>${escape(text.replace(/\n$/, ''))}</code></pre>`;
  }
}

const parser = new Parser({ gfm: true, renderer: new AnswerRenderer() });

/** The HTML of one block. It may hold whatever the source held. */
export function html(token: MarkedToken): string {
  return parser.parse([token]).trim();
}

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? character);
}
