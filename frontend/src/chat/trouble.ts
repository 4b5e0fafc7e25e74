/** What the page says of an error. */

import { passes, ProblemError } from '../client/index.ts';

export interface Trouble {
  readonly title: string;
  readonly detail: string;
}

/** What has happened, in a few words. */
export function headline(error: unknown): string {
  if (!(error instanceof ProblemError)) return error instanceof TypeError ? 'The server cannot be reached' : 'Something is wrong';
  switch (error.code) {
    case 'session_deleted':
      return 'This session was deleted';
    case 'session_evicted':
      return 'This session was removed to make room';
    case 'shutting_down':
      return 'The server is being restarted';
    case 'storage_full':
      return 'The server has no room left';
  }
  switch (error.status) {
    case 404:
      return 'There is no such session';
    case 410:
      return 'This session has expired';
    case 416:
      return 'The server has less of this session than this page';
    case 429:
      return 'The server is busy';
    default:
      return passes(error) ? 'The server is not ready' : 'The server refused';
  }
}

/** Why, as the server tells it. */
export function explain(error: unknown): string {
  if (error instanceof TypeError) return 'it does not answer'; // what fetch says is another in each browser
  return error instanceof Error ? error.message : String(error);
}
