import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { ask, type Answer } from '../support/ask.ts';
import { OPERATOR, startSeveralBuckets, type SeveralBuckets } from '../support/several-buckets.ts';

const bucket = z.object({
  id: z.string(),
  class: z.string(),
  name: z.string().optional(),
  stated: z.boolean().optional(),
  learned: z.object({ why: z.string(), routes: z.array(z.string()) }).optional(),
  paused: z.boolean().optional(),
});

let several: SeveralBuckets;
beforeAll(async () => {
  several = await startSeveralBuckets();
  await several.send('/repos/a/b');
  for (let i = 0; i < 3; i++) await several.send('/search/issues');
  await several.send('/gists/1');
});
afterAll(() => several.close());

function admin(path: string, method = 'GET'): Promise<Answer> {
  const headers = { Authorization: `Bearer ${OPERATOR}` };
  return ask(several.gateway.adminUrl + path, { method, headers });
}

async function buckets(): Promise<z.output<typeof bucket>[]> {
  const answer = z.object({ buckets: z.array(bucket) });
  return answer.parse(JSON.parse((await admin('/buckets')).text)).buckets;
}

async function bucketNamed(wanted: string): Promise<z.output<typeof bucket>> {
  const found = (await buckets()).find(({ name }) => name === wanted);
  if (found === undefined) throw new Error(`expected a bucket named ${wanted}`);
  return found;
}

test('/buckets shows which buckets are stated, and which routes a learned one has', async () => {
  const shown = (await buckets())
    .toSorted((a, b) => a.id.slice(a.id.indexOf(':')).localeCompare(b.id.slice(b.id.indexOf(':'))))
    .map(({ id, name, stated, learned }) => [
      id.replace(/^[0-9a-f]{16}/, 'HASH'),
      name,
      stated,
      learned?.routes,
    ]);
  expect(shown).toEqual([
    ['HASH:all', undefined, undefined, ['*']],
    ['HASH:all~search', 'search', undefined, ['GET /search/issues']],
    ['HASH:gists', undefined, undefined, undefined],
    ['HASH:gists/day', 'day', true, undefined],
    ['upstream:global', 'global', true, undefined],
  ]);
});

test('a bucket whose id has a slash can be read, paused and resumed', async () => {
  const { id } = await bucketNamed('day');
  const path = `/buckets/${encodeURIComponent(id)}`;
  expect(path).toContain('%2F');
  const one = z.object({ bucket });
  for (const [method, target, paused] of [
    ['GET', path, undefined],
    ['POST', `${path}/pause`, true],
    ['POST', `${path}/resume`, undefined],
  ] as const) {
    const { status, text } = await admin(target, method);
    expect(status).toBe(200);
    expect(one.parse(JSON.parse(text)).bucket).toMatchObject({ id, name: 'day' });
    expect(one.parse(JSON.parse(text)).bucket.paused).toBe(paused);
  }
});

test('each bucket has its own metrics, and counts what was spent from it', async () => {
  const { id } = await bucketNamed('search');
  const credential = id.slice(0, id.indexOf(':'));
  const { text } = await admin('/metrics');
  const lines = text.split('\n');
  expect(lines).toEqual(
    expect.arrayContaining([
      `headgate_bucket_limit{bucket="${id}",class="all"} 3`,
      `headgate_bucket_remaining{bucket="${id}",class="all"} 0`,
      // The first search was granted by the class's own bucket, and spent nothing from it.
      `headgate_bucket_accepted_total{bucket="${id}",class="all"} 3`,
      `headgate_bucket_accepted_total{bucket="${credential}:all",class="all"} 1`,
      `headgate_bucket_accepted_total{bucket="${credential}:gists/day",class="gists"} 1`,
      'headgate_bucket_accepted_total{bucket="upstream:global",class="global"} 5',
      'headgate_lessons{why="named"} 1',
      'headgate_lessons{why="counts"} 0',
    ]),
  );
  // A call that spends from several buckets is one call.
  const calls = lines.filter((line) => line.startsWith('headgate_calls_total{'));
  expect(calls.map((line) => Number(line.slice(line.lastIndexOf(' '))))).toEqual([5]);
});
