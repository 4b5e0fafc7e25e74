/** One loss of the line, as the strip tells it. */
export interface Cut {
  readonly at: number;
  /** Whether there is a line again, though nothing new has come over it. */
  readonly open: boolean;
  /** Undefined until the first event after it. */
  readonly back: { readonly at: number; readonly seconds: number; readonly missing: number; readonly repeated: number } | undefined;
}
