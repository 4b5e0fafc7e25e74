/** Markdown to blocks: marked's lexer, with a limit on everything that nests or piles up. */

import { Lexer, Tokenizer, type Links, type MarkedToken, type Token, type Tokens, type TokensList } from 'marked';

export type { Links };

/** How deep quotes and lists nest, and emphasis in emphasis. Below it the source is text. */
const DEPTH = 24;

/** How many characters of a paragraph may be markup. A paragraph with more of them is text: some of marked's work is quadratic in them. */
const MARKUP = 2000;

/** In UTF-16 code units. Further down no line is looked for that makes what is above it a heading: in an item of a list this is done for each line. */
const HEADING = 1000;

class LimitedTokenizer extends Tokenizer {
  override lheading(source: string): Tokens.Heading | undefined {
    return super.lheading(source.length <= HEADING ? source : source.slice(0, source.lastIndexOf('\n', HEADING) + 1));
  }

  /** A footnote is none. */
  override def(source: string): Tokens.Def | undefined {
    return source.startsWith('[^') ? undefined : super.def(source);
  }
}

/** A LimitedLexer never recurses further than DEPTH, whatever it reads: what a source gives does not depend on the stack that is left. */
class LimitedLexer extends Lexer {
  #blocks = 0;
  #inlines = 0;

  constructor(links: Links) {
    super({ gfm: true, tokenizer: new LimitedTokenizer() });
    this.tokens.links = links;
  }

  override blockTokens(source: string, tokens?: Token[], last?: boolean): Token[];
  override blockTokens(source: string, tokens?: TokensList, last?: boolean): TokensList;
  override blockTokens(source: string, tokens: Token[] = [], last?: boolean): Token[] {
    if (this.#blocks > DEPTH) {
      this.state.top = true; // as the overridden method leaves it
      tokens.push({ type: 'text', raw: source, text: source, escaped: false });
      return tokens;
    }
    this.#blocks++;
    try {
      return super.blockTokens(source, tokens, last);
    } finally {
      this.#blocks--;
    }
  }

  override inlineTokens(source: string, tokens: Token[] = []): Token[] {
    if (this.#inlines > DEPTH || (this.#inlines === 0 && isHeavy(source))) {
      tokens.push({ type: 'text', raw: source, text: source, escaped: false });
      return tokens;
    }
    this.#inlines++;
    try {
      return super.inlineTokens(source, tokens);
    } finally {
      this.#inlines--;
    }
  }
}

function isHeavy(source: string): boolean {
  return source.length > MARKUP && (source.match(/[*_~`[\]<@]/g)?.length ?? 0) > MARKUP;
}

/** The blocks of a source. Definitions that it holds are added to links; what links holds already wins. */
export function lex(source: string, links: Links): MarkedToken[] {
  return new LimitedLexer(links).lex(source) as MarkedToken[];
}

/** The inline tokens of a text. */
export function lexInline(text: string, links: Links): Token[] {
  return new LimitedLexer(links).inlineTokens(text);
}
