/** What the first events of a session make: the texts, and what is told beside them. */

import type { StreamEvent, TerminalEvent } from '../client/index.ts';
import type { Piece } from './answer.ts';
import { codePoints, type Seam } from './seam.ts';

/** What some events have added. */
export interface Addition {
  readonly answer: readonly Piece[];
  readonly reasoning: readonly Piece[];
  /** What of them is to be said aloud: seams, and pauses of the whole session. */
  readonly news: readonly StreamEvent[];
}

/** A Picture is a fold over events, from the first. */
export class Picture {
  unit = '';
  /** Whether there is any of the answer, be it a tool's name. */
  drawn = false;
  reasoned = false;
  /** The whole session is paused, by whomever. */
  heldBack = false;
  tools: readonly string[] = [];
  seams: readonly Seam[] = [];
  end: TerminalEvent | undefined;
  #characters = 0; // code points of the answer

  add(events: readonly StreamEvent[]): Addition {
    const answer: Piece[] = [];
    const reasoning: Piece[] = [];
    const news: StreamEvent[] = [];
    for (const event of events) {
      const { id } = event;
      switch (event.type) {
        case 'text':
          answer.push({ id, text: event.text });
          this.#characters += codePoints(event.text);
          this.drawn = true;
          break;
        case 'reasoning':
          reasoning.push({ id, text: event.text });
          this.drawn = this.reasoned = true;
          break;
        case 'seam':
          answer.push({ id, text: '', seam: true });
          this.seams = [...this.seams, { id, by: event.by, characters: this.#characters }];
          news.push(event);
          break;
        case 'session':
          this.unit = event.session.unit ?? this.unit;
          break;
        case 'tool_call':
          this.#tool(event.data);
          break;
        case 'paused':
        case 'resumed':
          this.heldBack = event.type === 'paused';
          news.push(event);
          break;
        case 'end':
          this.heldBack = false;
          this.end = event;
          break;
      }
    }
    return { answer, reasoning, news };
  }

  /** Of a call that comes in fragments, the first alone has the name. */
  #tool(data: unknown): void {
    const name = typeof data === 'object' && data !== null && 'name' in data ? data.name : undefined;
    if (typeof name !== 'string' || name === '') return;
    this.tools = [...this.tools, name];
    this.drawn = true;
  }
}
