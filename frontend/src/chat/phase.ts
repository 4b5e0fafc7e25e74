/** Where a reading stands. */

import type { Outcome, State } from '../client/index.ts';

export type Phase = 'idle' | 'sending' | 'connecting' | 'live' | 'paused' | 'reconnecting' | 'refused' | Outcome;

/** Whether a session, or the reading of one, is at its end. */
export function isOver(phase: Phase | State): phase is Outcome {
  return phase === 'done' || phase === 'stopped' || phase === 'failed' || phase === 'interrupted';
}

/** Whether its reader may get something more. */
export function isActive(phase: Phase): boolean {
  return phase === 'connecting' || phase === 'live' || phase === 'paused' || phase === 'reconnecting';
}
