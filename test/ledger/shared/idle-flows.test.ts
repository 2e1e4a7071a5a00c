// @module-tag needs-redis-server
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readReply, type StepBatch, type StepTicket } from '../../../src/ledger/shared/wire.ts';
import { bucketKeys } from '../../../src/ledger/shared/script/step-script.ts';
import { startRedis, type RedisServer } from '../../support/redis-server.ts';
import { makeTimedStep, PREFIX } from '../../support/redis-step.ts';

const AT_MS = 1_790_000_000_000;
/** The most tickets of one step. */
const MAX_TICKETS = 256;
/** The script's bound of remembered idle flows. */
const MAX_IDLE_FLOWS = 4096;
const PRIORITIES = ['high', 'normal', 'low'];
/** So many that the bound drops all their high flows, and then others of the same owners. */
const OWNERS = Math.ceil(MAX_IDLE_FLOWS / 2) + MAX_TICKETS;

let redis: RedisServer;

beforeAll(async () => {
  redis = await startRedis();
});
// It kills the server, also one whose script does not end.
afterAll(() => redis.stop());

test('a step ends, and drops idle flows for good, also of owners that used every priority', async () => {
  const timedStep = makeTimedStep(redis.client);
  let [sequence, lineage, revision] = [0, '', 0];
  /** A step at a replica without a free socket, so that nothing is granted. Virtual time stays 0. */
  async function step(more: Partial<StepBatch>): Promise<void> {
    const batch: StepBatch = {
      bucket: 'b',
      replica: 'r1',
      epoch: 1,
      sequence: ++sequence,
      lineage,
      revision,
      declares: sequence === 1,
      free: 0,
      maxQueue: 100_000,
      sheds: 0,
      held: [],
      settled: [],
      stock: 0,
      wants: 0,
      gone: [],
      tickets: [],
      ...more,
    };
    const reply = readReply(await timedStep('b', JSON.stringify(batch), AT_MS));
    if (reply.status !== 'ok') throw new Error(`expected the step to succeed, got ${reply.status}`);
    ({ lineage, revision } = reply);
    // The server's own clock goes on, and would let the keys expire on a busy machine.
    await Promise.all(bucketKeys(PREFIX, 'b').map((key) => redis.client.persist(key)));
  }
  const ticket = (id: string, owner: string, priority: string, ageMs = 0): StepTicket => {
    return [id, owner, 'c', priority, 1, ageMs, 1e9, 'new'];
  };

  // While it waits, the queue is not empty and remembers its flows.
  await step({ tickets: [ticket('patient', 'patient', 'low')] });
  const tickets: StepTicket[] = [];
  for (let i = 0; i < OWNERS; i++) {
    for (const priority of PRIORITIES) tickets.push(ticket(`${i}.${priority}`, `o${i}`, priority));
  }
  for (let i = 0; i < tickets.length; i += MAX_TICKETS) {
    const batch = tickets.slice(i, i + MAX_TICKETS);
    await step({ tickets: batch });
    await step({ gone: batch.map(([id]) => id) });
  }
  // A flow that becomes empty by a grant is ahead of its share.
  await step({ tickets: [ticket('granted', 'granted', 'normal', 1000)] });
  await step({ free: 1 });

  const { client } = redis;
  expect(await client.zcard('h:{b}:idle')).toBeLessThanOrEqual(MAX_IDLE_FLOWS);
  // The flow of the ticket that waits, and the three shared flows of each remembered owner.
  expect(await client.hlen('h:{b}:flows')).toBeLessThanOrEqual(3 * MAX_IDLE_FLOWS + 1);
  expect(await client.hlen('h:{b}:owners')).toBeLessThanOrEqual(MAX_IDLE_FLOWS + 1);
  expect(await client.hkeys('h:{b}:tickets')).toEqual(['patient']);
});
