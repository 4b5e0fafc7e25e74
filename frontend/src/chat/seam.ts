/** What the page says of a place where two answers of the model are joined. */

export interface Seam {
  /** The event. */
  readonly id: number;
  /** How the model was asked, in the protocol's word. */
  readonly by: string;
  /** Code points of the text before it, as drawn. */
  readonly characters: number;
}

export function tell({ id, by, characters }: Seam): string {
  if (by === 'anew') return 'The model was asked anew, because there was no text yet to go on from.';
  const said = `From event ${id} on this is another answer of the model, which was asked to go on after ${characters} ${characters === 1 ? 'character' : 'characters'}`;
  return by === 'message' ? `${said}. It was shown the text and asked for the rest, so the join may not be exact.` : `${said}.`;
}

/** The length of a text in code points. */
export function codePoints(text: string): number {
  let n = 0;
  for (const _ of text) n++;
  return n;
}
