import { expect, test } from 'vitest';
import { ApiWatch } from '../../src/telemetry/api-state.ts';
import { FakeClock } from '../support/fake-clock.ts';

const NO_ANSWER = { outcome: 'failed', code: 'upstream-timeout', attempts: 3 } as const;

test('calls that got no answer are counted from the first one until one is answered', () => {
  const clock = new FakeClock();
  const api = new ApiWatch(clock);
  expect(api.state).toEqual({ kind: 'unknown' });
  api.add(NO_ANSWER);
  clock.advance(2000);
  api.add(NO_ANSWER);
  expect(api.state).toEqual({ kind: 'fails', code: 'upstream-timeout', calls: 2, forMs: 2000 });
  api.add({ outcome: 'answered', code: undefined, attempts: 1 });
  expect(api.state).toEqual({ kind: 'answers' });
});

test('of several APIs, the one that has given no answer for longest is named', () => {
  const clock = new FakeClock();
  const apis = new ApiWatch(clock);
  apis.add({ api: 'small', ...NO_ANSWER });
  clock.advance(1000);
  apis.add({ api: 'other', ...NO_ANSWER });
  apis.add({ api: 'busy', outcome: 'answered', code: undefined, attempts: 1 });
  expect(apis.state).toMatchObject({ kind: 'fails', api: 'small', calls: 1, forMs: 1000 });
  apis.add({ api: 'small', outcome: 'answered', code: undefined, attempts: 1 });
  expect(apis.state).toMatchObject({ kind: 'fails', api: 'other', calls: 1, forMs: 0 });
});

test('calls that were not sent, or whose caller left, show nothing of the API', () => {
  const api = new ApiWatch(new FakeClock());
  api.add({ outcome: 'shed', code: 'wait-too-long', attempts: 0 });
  api.add({ outcome: 'failed', code: 'bad-request', attempts: 0 });
  api.add({ outcome: 'aborted', code: 'upstream-unreachable', attempts: 1 });
  expect(api.state).toEqual({ kind: 'unknown' });
});
