import { createServer } from 'node:http';
import { connect, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { makeAdmit } from '../../src/gateway/admit.ts';
import { Call } from '../../src/gateway/call.ts';
import { makePipeline, type PipelineDependencies } from '../../src/gateway/gateway.ts';
import type { Job } from '../../src/gateway/identify.ts';
import { GatewayError, type ProblemCode } from '../../src/gateway/problem.ts';
import { makeRecord } from '../../src/gateway/record.ts';
import { makeRefuse, makeRespond } from '../../src/gateway/respond.ts';
import type { Admission } from '../../src/ledger/ledger.ts';
import type { CallLine } from '../../src/telemetry/call-line.ts';
import { makeLog } from '../../src/telemetry/log.ts';
import { NO_BODY } from '../../src/upstream/body.ts';
import { RequestMemory } from '../../src/upstream/request-memory.ts';
import type { UpstreamResponse } from '../../src/upstream/response.ts';
import { answerWith } from '../support/answer.ts';
import { FakeClock } from '../support/fake-clock.ts';

/** One call on a real connection, and what can happen to it. */
class Scene {
  readonly call: Call;
  readonly #client: Socket;

  constructor(call: Call, client: Socket) {
    this.call = call;
    this.#client = client;
  }

  /** The caller closes its connection; resolves when the call knows. */
  async disconnect(): Promise<void> {
    const known = new Promise<void>((resolve) => {
      this.call.onGone(resolve);
    });
    this.#client.destroy();
    await known;
  }

  cutOff(code: ProblemCode): void {
    this.call.cutOff(new GatewayError(code, 'cut off by the test'));
  }

  get job(): Job {
    const { call } = this;
    return {
      call,
      ticket: {
        id: call.id,
        bucket: { id: 'bucket', class: 'read' },
        owner: 'owner',
        caller: 'caller',
        priority: 'normal',
        weight: 1,
        arrivedAt: 0,
        deadlineAt: 60_000,
      },
      method: 'GET',
      target: '/a',
      headers: [],
      body: NO_BODY,
      addsToken: false,
      dropsCookies: false,
      authenticatesSocket: false,
      isPreflight: false,
      idempotent: true,
      shedStatus: 503,
      rule: { name: 'read' },
      credential: undefined,
      learned: undefined,
      costOf: () => undefined,
    };
  }
}

const BROKEN = { reason: 'reset', error: new Error('broken') } as const;
const LATE = { reason: 'timeout', error: new Error('late') } as const;
const failed = (code: ProblemCode): GatewayError => new GatewayError(code, 'failed by the test');

/** The steps that a case replaces. `acquire` is the ledger's, behind the real admit. */
interface Steps extends Partial<PipelineDependencies> {
  readonly acquire?: (scene: Scene) => Admission;
}

const GRANTED = (scene: Scene): Admission => ({
  kind: 'granted',
  grant: { ticket: scene.job.ticket, grantedAt: 0, waitedFor: 'nothing' },
});

/** Sends one request through a gateway with these steps, and returns its log line. */
async function lineOf(makeSteps: (scene: Scene) => Steps): Promise<CallLine> {
  const clock = new FakeClock();
  const log = makeLog({
    level: 'info',
    replica: 'test',
    clock,
    destination: { write: () => undefined },
  });
  let client: Socket | undefined;
  return new Promise((resolve) => {
    const server = createServer((incoming, outgoing) => {
      const call = new Call('id', incoming, outgoing, clock.now());
      const scene = new Scene(call, client ?? incoming.socket);
      const { acquire = GRANTED, ...steps } = makeSteps(scene);
      const pipeline = makePipeline({
        identify: () => scene.job,
        admit: makeAdmit({
          ledger: {
            acquire: () => acquire(scene),
            settle: () => undefined,
            etaMs: () => undefined,
          },
          clock,
          memory: new RequestMemory(1024 ** 2),
          socketPermits: { take: () => false, free: 0, release: () => undefined },
          mode: 'enforce',
          observer: { granted: () => undefined },
          waitingJobs: { wait: (_job, first) => first },
        }),
        forward: () => Promise.resolve({ kind: 'stale' }),
        settle: () => ({ kind: 'cancelled' }),
        respond: makeRespond({
          clock: new FakeClock(),
          atEndOfTurn: (run) => run(),
          rewrite: undefined,
          idleTimeoutMs: 1000,
          socketShare: { watch: () => () => undefined },
          watchReading: () => () => undefined,
          watchUnread: () => undefined,
        }),
        refuse: makeRefuse({
          log,
          watchUnread: () => undefined,
          hasToken: false,
          credentialFields: [],
        }),
        record: makeRecord({
          recorder: resolve,
          ledger: { view: () => undefined },
          clock,
          pathMasks: [],
          queryMasks: [],
          credentialName: () => undefined,
        }),
        ledger: { settle: () => undefined },
        observer: { retry: () => undefined },
        retries: 0,
        shedStatus: 503,
        ...steps,
      });
      void pipeline(call, { path: '/a', query: '', sent: '/a' });
    });
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      if (address === null || typeof address === 'string') throw new Error('no port');
      client = connect(address.port, '127.0.0.1');
      client.on('error', () => undefined);
      client.write('GET /a HTTP/1.1\r\nHost: a\r\n\r\n');
    });
    onTestFinished(() => {
      client?.destroy();
      server.closeAllConnections();
      server.close();
    });
  });
}

/** The steps for an answer that is passed on while `then` happens to its body. */
function responding(then: (response: UpstreamResponse) => unknown): Steps {
  const response = answerWith();
  return {
    settle() {
      setImmediate(() => void then(response));
      return { kind: 'respond', response };
    },
  };
}

const CASES: readonly [
  name: string,
  steps: (scene: Scene) => Steps,
  line: { readonly status: number; readonly outcome: string; readonly code: string | undefined },
][] = [
  [
    'a request that is refused',
    () => ({
      identify() {
        throw failed('bad-request');
      },
    }),
    { status: 400, outcome: 'failed', code: 'bad-request' },
  ],
  [
    'a request that is refused because the memory for bodies is full',
    () => ({
      identify() {
        throw failed('body-memory-full');
      },
    }),
    { status: 503, outcome: 'shed', code: 'body-memory-full' },
  ],
  [
    'a failure of Headgate',
    () => ({
      identify() {
        throw new Error('a bug');
      },
    }),
    { status: 500, outcome: 'failed', code: 'internal' },
  ],
  [
    'a caller that disconnects before its body is complete',
    (scene) => ({
      identify: async (): Promise<'cancelled'> => {
        await scene.disconnect();
        return 'cancelled';
      },
    }),
    { status: 0, outcome: 'aborted', code: undefined },
  ],
  [
    'a body that stalls',
    (scene) => ({
      identify() {
        scene.cutOff('body-timeout');
        return 'cancelled';
      },
    }),
    { status: 408, outcome: 'failed', code: 'body-timeout' },
  ],
  [
    'a body that is evicted',
    (scene) => ({
      identify() {
        scene.cutOff('body-memory-full');
        return 'cancelled';
      },
    }),
    { status: 503, outcome: 'shed', code: 'body-memory-full' },
  ],
  [
    'a call that is cut off twice',
    (scene) => ({
      identify() {
        scene.cutOff('body-timeout');
        scene.cutOff('draining');
        return 'cancelled';
      },
    }),
    { status: 408, outcome: 'failed', code: 'body-timeout' },
  ],
  [
    'a call that is cut off after its caller disconnected',
    (scene) => ({
      identify: async (): Promise<'cancelled'> => {
        await scene.disconnect();
        scene.cutOff('draining');
        return 'cancelled';
      },
    }),
    { status: 0, outcome: 'aborted', code: undefined },
  ],
  [
    'a caller that disconnects after its call was cut off',
    (scene) => ({
      identify: async (): Promise<'cancelled'> => {
        const disconnected = scene.disconnect();
        scene.cutOff('draining');
        await disconnected;
        return 'cancelled';
      },
    }),
    { status: 503, outcome: 'shed', code: 'draining' },
  ],
  [
    'a call that is cut off for one reason and refused for another',
    (scene) => ({
      identify() {
        scene.cutOff('expectation-failed');
        throw failed('bad-request');
      },
    }),
    { status: 400, outcome: 'failed', code: 'bad-request' },
  ],
  [
    'a ticket that is shed',
    () => ({ acquire: () => ({ kind: 'shed', code: 'queue-full', retryAfterMs: 1000 }) }),
    { status: 503, outcome: 'shed', code: 'queue-full' },
  ],
  [
    'a caller that disconnects while its ticket waits',
    (scene) => ({
      acquire: () => ({
        kind: 'waiting',
        outcome: scene.disconnect().then(() => ({ kind: 'cancelled' })),
      }),
    }),
    { status: 0, outcome: 'aborted', code: undefined },
  ],
  [
    'a call that is cut off while its ticket waits',
    (scene) => ({
      acquire() {
        scene.cutOff('draining');
        return { kind: 'waiting', outcome: Promise.resolve({ kind: 'cancelled' }) };
      },
    }),
    { status: 503, outcome: 'shed', code: 'draining' },
  ],
  [
    'a call that was cut off before it asked for a grant',
    (scene) => ({
      identify() {
        scene.cutOff('expectation-failed');
        return scene.job;
      },
    }),
    { status: 417, outcome: 'failed', code: 'expectation-failed' },
  ],
  [
    'an attempt that throws',
    () => ({ forward: () => Promise.reject(new Error('a bug')) }),
    { status: 500, outcome: 'failed', code: 'internal' },
  ],
  [
    'a caller that disconnects during its attempt',
    (scene) => ({
      forward: () => scene.disconnect().then(() => ({ kind: 'stale' })),
      settle: () => ({ kind: 'cancelled' }),
    }),
    { status: 0, outcome: 'aborted', code: undefined },
  ],
  [
    'a call that is cut off during its attempt',
    (scene) => ({
      settle() {
        scene.cutOff('body-too-large');
        return { kind: 'cancelled' };
      },
    }),
    { status: 413, outcome: 'failed', code: 'body-too-large' },
  ],
  [
    'an attempt that fails',
    () => ({ settle: () => ({ kind: 'failed', error: failed('upstream-timeout') }) }),
    { status: 504, outcome: 'failed', code: 'upstream-timeout' },
  ],
  [
    'an attempt that is throttled and cannot be repeated',
    () => ({ settle: () => ({ kind: 'failed', error: failed('not-replayable') }) }),
    { status: 503, outcome: 'shed', code: 'not-replayable' },
  ],
  [
    'an attempt that fails although its caller has disconnected',
    (scene) => ({
      forward: () => scene.disconnect().then(() => ({ kind: 'stale' })),
      settle: () => ({ kind: 'failed', error: failed('not-replayable') }),
    }),
    { status: 0, outcome: 'aborted', code: 'not-replayable' },
  ],
  [
    'an answer that has arrived completely',
    () => ({
      settle() {
        const response = answerWith();
        response.received(Buffer.from('whole'));
        response.complete([]);
        return { kind: 'respond', response };
      },
    }),
    { status: 200, outcome: 'answered', code: undefined },
  ],
  [
    'an answer whose body follows',
    () =>
      responding((response) => {
        response.received(Buffer.from('the rest'));
        response.complete([]);
      }),
    { status: 200, outcome: 'answered', code: undefined },
  ],
  [
    'an answer that cannot be passed on',
    () => ({ settle: () => ({ kind: 'respond', response: answerWith(['a b', 'c']) }) }),
    { status: 502, outcome: 'failed', code: 'upstream-protocol' },
  ],
  [
    'an answer whose caller has disconnected',
    (scene) => ({
      forward: () => scene.disconnect().then(() => ({ kind: 'stale' })),
      settle: () => ({ kind: 'respond', response: answerWith() }),
    }),
    { status: 0, outcome: 'aborted', code: undefined },
  ],
  [
    'an answer that breaks off',
    () => responding((response) => response.brokeOff(BROKEN)),
    { status: 200, outcome: 'failed', code: 'upstream-protocol' },
  ],
  [
    'an answer that stalls',
    () => responding((response) => response.brokeOff(LATE)),
    { status: 200, outcome: 'failed', code: 'upstream-timeout' },
  ],
  [
    'a caller that disconnects during its answer',
    (scene) =>
      responding(async (response) => {
        await scene.disconnect();
        response.brokeOff(BROKEN);
      }),
    { status: 200, outcome: 'aborted', code: undefined },
  ],
  [
    'a caller that does not read its answer',
    (scene) =>
      responding((response) => {
        scene.cutOff('body-timeout');
        response.brokeOff(BROKEN);
      }),
    { status: 200, outcome: 'failed', code: 'body-timeout' },
  ],
];

test.each(CASES)('%s has its outcome in the log', async (_name, steps, line) => {
  const { status, outcome, code } = await lineOf(steps);
  expect({ status, outcome, code }).toEqual(line);
});
