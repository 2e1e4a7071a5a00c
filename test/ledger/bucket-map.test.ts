import { describe, expect, test } from 'vitest';
import { BucketMap, defaultMaxPerOwner, type MappedBucket } from '../../src/ledger/bucket-map.ts';
import type { BucketName } from '../../src/ledger/ledger.ts';
import { FakeClock } from '../support/fake-clock.ts';

class FakeBucket implements MappedBucket<FakeBucket> {
  readonly name: BucketName;
  readonly #onLook: () => void;
  busy = true;
  account: MappedBucket<FakeBucket>['account'];
  isLinked = false;
  previous: FakeBucket | undefined;
  next: FakeBucket | undefined;

  constructor(id: string, onLook: () => void) {
    const configuredLimit = { limit: 5, periodMs: 3_600_000, isOwn: true } as const;
    this.name = id.startsWith('quota:')
      ? { id, class: 'quota', configuredLimit }
      : { id, class: 'read' };
    this.#onLook = onLook;
  }

  get idle(): boolean {
    this.#onLook();
    return !this.busy;
  }
}

function setUp(bounds: { maxBuckets?: number; maxBucketsPerOwner?: number }, afterlifeMs = 0) {
  const clock = new FakeClock();
  const forgotten: string[] = [];
  let looks = 0;
  const map = new BucketMap<FakeBucket>({
    clock,
    bounds,
    afterlifeMs,
    onForget: ({ name }) => void forgotten.push(name.id),
  });
  /** Creates a bucket; returns it, or the code of the refusal and when to try again. */
  const create = (id: string, owner = 'o'): FakeBucket | [code: string, retryAfterMs: number] => {
    const refused = map.refusal(owner);
    if (refused !== undefined) return [refused.code, refused.retryAfterMs];
    const bucket = new FakeBucket(id, () => void looks++);
    map.add(bucket, owner);
    return bucket;
  };
  const rest = (bucket: unknown): void => {
    if (!(bucket instanceof FakeBucket)) throw new Error('expected a bucket, got a refusal');
    bucket.busy = false;
    map.release(bucket);
  };
  return {
    clock,
    map,
    forgotten,
    create,
    rest,
    get looks() {
      return looks;
    },
  };
}

describe('a bucket map', () => {
  test('looks at no bucket that is in use, however many there are', () => {
    const world = setUp({ maxBuckets: 5000, maxBucketsPerOwner: 6000 });
    for (let i = 0; i < 5000; i++) world.create(`b${i}`);
    expect(world.create('one more')).toEqual(['too-many-buckets', 5000]);
    for (let i = 0; i < 60_000; i++) world.create(`invented-${i}`);
    expect(world.looks).toBe(0);
    expect([...world.map.values()]).toHaveLength(5000);
  });

  test('never forgets the quota of a caller, whatever others create', () => {
    const { map, forgotten, create, rest } = setUp({ maxBuckets: 3 });
    rest(create('quota:job'));
    for (let i = 0; i < 20; i++) rest(create(`invented-${i}`, 'other'));
    expect(map.get('quota:job')).toBeDefined();
    expect(forgotten).toHaveLength(18);
  });

  test('forgets the longest idle one, and none that is in use again', () => {
    const { map, forgotten, create, rest } = setUp({ maxBuckets: 3 });
    const [a, b, c] = [create('a'), create('b'), create('c')];
    for (const bucket of [b, a, c]) rest(bucket);
    map.use('b');
    create('d');
    create('e');
    expect(forgotten).toEqual(['a', 'c']);
  });

  test('counts one that is in use again for its owner', () => {
    const { map, create, rest } = setUp({ maxBuckets: 100, maxBucketsPerOwner: 2 });
    const a = create('a');
    for (let i = 0; i < 3; i++) {
      rest(a);
      map.use('a');
    }
    create('b');
    expect(create('c')).toEqual(['too-many-buckets-of-owner', 5000]);
  });

  test('keeps one that came to be in use by itself, and forgets it after its next rest', () => {
    const { forgotten, create, rest } = setUp({ maxBuckets: 1 });
    const bucket = create('a');
    rest(bucket);
    if (!(bucket instanceof FakeBucket)) throw new Error('expected a bucket');
    bucket.busy = true;
    expect(create('b')).toEqual(['too-many-buckets', 5000]);
    rest(bucket);
    create('b');
    expect(forgotten).toEqual(['a']);
  });

  test('counts only buckets in use for their owner', () => {
    const { create, rest } = setUp({ maxBuckets: 100, maxBucketsPerOwner: 2 });
    for (let i = 0; i < 10; i++) rest(create(`idle-${i}`));
    const [first] = [create('a'), create('b')];
    expect(create('c')).toEqual(['too-many-buckets-of-owner', 5000]);
    expect(create('d', 'another')).toBeInstanceOf(FakeBucket);
    rest(first);
    expect(create('c')).toBeInstanceOf(FakeBucket);
  });

  test('accepts no more new ones within their afterlife than its bounds, and says when the next', () => {
    const { clock, create, rest } = setUp({ maxBuckets: 10, maxBucketsPerOwner: 4 }, 20_000);
    for (let i = 0; i < 4; i++) rest(create(`a${i}`));
    expect(create('a4')).toEqual(['too-many-buckets-of-owner', 5000]);
    for (let i = 0; i < 3; i++) rest(create(`b${i}`, 'b'));
    for (let i = 0; i < 3; i++) rest(create(`c${i}`, 'c'));
    expect(create('c3', 'c')).toEqual(['too-many-buckets', 2000]);
    clock.advance(4999);
    expect(create('a4')).toEqual(['too-many-buckets-of-owner', 1]);
    clock.advance(1);
    expect(create('a4')).toBeInstanceOf(FakeBucket);
    let accepted = 0;
    for (let i = 0; i < 20_000; i++) {
      clock.advance(1);
      if (create(`d${i}`, `d${i % 7}`) instanceof FakeBucket) accepted++;
    }
    expect(accepted).toBeLessThanOrEqual(10);
  });

  test('applies bounds that changed, and forgets what is too much', () => {
    const bounds = { maxBuckets: 5 };
    const { forgotten, create, rest } = setUp(bounds);
    for (let i = 0; i < 5; i++) rest(create(`b${i}`));
    bounds.maxBuckets = 2;
    create('next');
    expect(forgotten).toEqual(['b0', 'b1', 'b2', 'b3']);
  });

  test('keeps nothing of an owner without buckets', () => {
    const { map, create, rest } = setUp({ maxBuckets: 1 });
    const bucket = create('a', 'first');
    rest(bucket);
    create('b', 'second');
    if (!(bucket instanceof FakeBucket)) throw new Error('expected a bucket');
    expect(bucket.account).toBeUndefined();
    map.release(bucket);
    expect(bucket.isLinked).toBe(false);
  });

  test('gives one owner a twentieth of all, but at least 100', () => {
    expect([10, 2000, 10_000].map(defaultMaxPerOwner)).toEqual([100, 100, 500]);
  });
});
