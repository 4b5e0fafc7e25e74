/** Code whose end has not come: what follows goes into it as it stands, and nothing is lexed. */

/** In UTF-16 code units. A text node past it is left at the next line, so that a frame shapes little again. */
const NODE = 512;

/** The opening of a fence that what follows may be told from without a lexer: it stands at the start of its line. */
const OPENING = /^(`{3,}|~{3,})[^\n]*\n/;

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
  #held = ''; // the last line, if it may turn out to close the fence
  #begun = false; // the last line cannot: what came of it is written
  #breaks = 0; // line breaks that no character has followed

  private constructor(code: Element, mark: string) {
    this.#code = code;
    this.#closing = closing(mark);
    code.replaceChildren();
  }

  /** A fence that source opens and does not close; code is the element of it. */
  static open(source: string, code: Element): OpenFence | undefined {
    const opening = OPENING.exec(source);
    if (opening === null) return undefined;
    const fence = new OpenFence(code, opening[1] as string);
    return fence.write(source.slice(opening[0].length)) ? undefined : fence;
  }

  /** Writes what follows, and reports whether the fence is closed by it. */
  write(text: string): boolean {
    const lines = (this.#held + text).split('\n');
    const last = lines.pop() as string;
    for (const line of lines) {
      if (!this.#begun && this.#closing.test(line)) return true;
      this.#put(line);
      this.#begun = false;
      this.#breaks++;
    }
    const closes = !this.#begun && /^ {0,3}(?:`*|~*) *$/.test(last);
    if (!closes) this.#put(last);
    this.#held = closes ? last : '';
    this.#begun = !closes;
    return false;
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
