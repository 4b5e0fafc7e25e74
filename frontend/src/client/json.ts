/** Looks into JSON that another has written. */

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The value if it is a string, '' otherwise. */
export function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
