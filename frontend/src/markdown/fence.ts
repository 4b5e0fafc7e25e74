/** Code whose end has not come: what follows goes into it as it stands, and nothing is lexed. */

import type { MarkedToken, Tokens } from 'marked';

/** In UTF-16 code units. A text node past it is left at the next line, so that a frame shapes little again. */
const NODE = 512;

/** What a line of the code has before it: the mark of a quote, or the indentation of a list's item, in columns. */
type Container = '>' | number;

/** Whether a source, one block, is a fence that has been closed. */
export function isClosed(source: string): boolean {
  const mark = /^ {0,3}(`{3,}|~{3,})/.exec(source)?.[1];
  const end = source.trimEnd();
  const line = end.lastIndexOf('\n') + 1;
  return mark !== undefined && line > 0 && closing(mark).test(end.slice(line));
}

function closing(mark: string): RegExp {
  return new RegExp(`^ {0,3}${mark[0]}{${mark.length},} *$`);
}

/** An OpenFence writes the lines of a fence into a code element until the closing one. */
export class OpenFence {
  readonly #code: Element;
  readonly #closing: RegExp;
  readonly #containers: readonly Container[];
  readonly #indented: RegExp; // as far as the fence is: not a part of the code
  #held = ''; // the last line, if it may turn out to close the fence or to stand outside it
  #begun = false; // the last line cannot: what came of it is written
  #breaks = 0; // line breaks that no character has followed

  private constructor(code: Element, opening: RegExpExecArray, containers: readonly Container[]) {
    this.#code = code;
    const [, indentation = '', mark = ''] = opening;
    this.#closing = closing(mark);
    this.#containers = containers;
    this.#indented = new RegExp(`^ {0,${mark.startsWith('`') ? indentation.length : 0}}`); // marked leaves it to tildes
    code.replaceChildren();
  }

  /**
   * The fence at the end of blocks, lexed from a source, if it is open; code is the element of it,
   * drawn. What has come of the source since it was lexed is written too.
   */
  static open(blocks: readonly MarkedToken[], lexed: string, source: string, code: Element): OpenFence | undefined {
    const containers: Container[] = [];
    const token = lastCode(blocks, containers);
    const opening = /^( {0,3})(`{3,}|~{3,})[^\n]*(?:\n|$)/.exec(token?.raw ?? '');
    if (token === undefined || opening === null || isClosed(token.raw)) return undefined;
    const lines = lineCount(lexed) - lineCount(token.raw) + 1;
    const drawn = code.textContent ?? '';
    const fence = new OpenFence(code, opening, containers);
    const closed = fence.write(source.split('\n').slice(lines).join('\n'));
    if (!closed && source.split('\n').length > lines && (code.textContent ?? '').startsWith(drawn.trimEnd())) return fence;
    code.textContent = drawn; // its lines are not what they seem: the lexer goes on with it
    return undefined;
  }

  /** Writes what follows, and reports whether the fence ends with it: it is closed, or what it stands in is over. */
  write(text: string): boolean {
    const lines = (this.#held + text).split('\n');
    const last = lines.pop() as string;
    for (const line of lines) {
      if (!this.#begun) {
        const code = this.#within(line);
        if (code === undefined || this.#closing.test(code)) return true;
        this.#put(code.replace(this.#indented, ''));
      } else {
        this.#put(line);
      }
      this.#begun = false;
      this.#breaks++;
    }
    if (!this.#begun && /^[ >]*(?:`*|~*) *$/.test(last)) {
      this.#held = last;
      return false;
    }
    const code = this.#begun ? last : this.#within(last)?.replace(this.#indented, '');
    if (code === undefined) return true;
    this.#put(code);
    this.#held = '';
    this.#begun = true;
    return false;
  }

  /** A line without what its containers have before it; undefined if it is outside one. */
  #within(line: string): string | undefined {
    let rest = line;
    for (const container of this.#containers) {
      const blank = rest.trim() === '';
      if (container === '>' ? !/^ {0,3}>(?!\t)/.test(rest) : !blank && /^ */.exec(rest)?.[0].length as number < container) return undefined;
      rest = container === '>' ? rest.replace(/^ {0,3}> ?/, '') : rest.slice(container);
    }
    return rest;
  }

  #put(text: string): void {
    if (text === '') return;
    const whole = '\n'.repeat(this.#breaks) + text;
    const node = this.#code.lastChild as Text | null;
    if (node === null || (this.#breaks > 0 && node.length > NODE)) this.#code.append(whole);
    else node.appendData(whole);
    this.#breaks = 0;
  }
}

/** Without those at the end that are empty, in a quote or not. */
function lineCount(source: string): number {
  return source.replace(/[\s>]+$/, '').split('\n').length;
}

/** The code that blocks end with, and what it stands in. */
function lastCode(blocks: readonly MarkedToken[], containers: Container[]): Tokens.Code | undefined {
  const last = blocks.findLast((token) => token.type !== 'space');
  switch (last?.type) {
    case 'code':
      return last;
    case 'blockquote':
      containers.push('>');
      return lastCode(last.tokens as MarkedToken[], containers);
    case 'list': {
      const item = last.items.at(-1) as Tokens.ListItem;
      const [, marker = '', spaces = '', text = ''] = /^( *(?:[-*+]|\d+[.)]))( *)(.?)/.exec(item.raw) ?? [];
      containers.push(marker.length + (text === '' || spaces.length > 4 ? 1 : spaces.length));
      return lastCode(item.tokens as MarkedToken[], containers);
    }
    default:
      return undefined;
  }
}
