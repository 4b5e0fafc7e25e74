/** What a text that is whole is told to have come to. */

import type { Session, TerminalEvent } from '../client/index.ts';

/** Such as "213 events, 211 tokens, 58 tokens/s", as far as it is known; tokens that the relay has estimated have a ~. */
export function figures(events: number, end: TerminalEvent | undefined, session: Session | undefined): string {
  const parts = [count(events, 'event')];
  const tokens = end?.usage?.output_tokens;
  if (tokens !== undefined && tokens > 0) {
    parts.push(`${end?.usage?.source === 'estimated' ? '~' : ''}${count(tokens, 'token')}`);
    const { first_text, ended } = session?.timings ?? {};
    const seconds = first_text === undefined || ended === undefined ? 0 : (Date.parse(ended) - Date.parse(first_text)) / 1000;
    if (seconds > 0) parts.push(`${Math.round(tokens / seconds)} tokens/s`);
  }
  return parts.join(', ');
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`;
}
