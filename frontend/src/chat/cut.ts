/** One loss of the line, as the strip tells it. */

import type { Status } from '../client/index.ts';

export interface Cut {
  readonly at: number;
  /** Whether there is a line again, though nothing new has come over it. */
  readonly open: boolean;
  /** Undefined until the first event after it. */
  readonly back: { readonly at: number; readonly seconds: number; readonly missing: number; readonly repeated: number } | undefined;
}

/** What becomes of a cut, or of none, with what becomes of the line. Tries that fail belong to the same cut. */
export function after(cut: Cut | undefined, status: Status): Cut | undefined {
  switch (status.type) {
    case 'lost':
      return isUnmade(cut) ? { ...cut, open: false } : { at: status.after, open: false, back: undefined };
    case 'open':
      return isUnmade(cut) ? { ...cut, open: true } : cut;
    case 'back':
      return { at: status.cut, open: true, back: { at: status.back, seconds: status.duration / 1000, missing: status.missing, repeated: status.repeated } };
    case 'connecting':
    case 'gap': // the line is lost next, and then what was missing is counted
      return cut;
  }
}

/** Whether nothing has come after it. */
export function isUnmade(cut: Cut | undefined): cut is Cut {
  return cut !== undefined && cut.back === undefined;
}

/** The cut, unless nothing has come after it: once the line is given up, it is not to be told as one that is being mended. */
export function mended(cut: Cut | undefined): Cut | undefined {
  return isUnmade(cut) ? undefined : cut;
}
