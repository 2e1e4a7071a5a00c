/**
 * A step failed because of what Redis stores of its bucket: a key of another kind, damaged data, an
 * unknown layout. The server works, and so do the other buckets.
 */
export class BucketTrouble extends Error {
  override readonly name = 'BucketTrouble';
}
