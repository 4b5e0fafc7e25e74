/** Where a reading is on its way to. */

/** A place that is read up to at full speed, whatever the pace. */
export interface Goal {
  /** An event, the first seam, or the last event that there is, which the server has not told of yet. */
  readonly at: number | 'seam' | 'head';
  readonly then: 'pause' | 'go on';
  /** What is said when it is reached, if reading pauses there; '' if who asked for it knows. */
  readonly say: '' | 'Paused at' | 'At';
}
