import { createServer } from 'node:http';
import { expect, onTestFinished, test } from 'vitest';
import { CallLimits } from '../../src/gateway/identify/call-limits.ts';
import { Call } from '../../src/gateway/call.ts';
import { makeCallerOfKey } from '../../src/gateway/identify/credentials.ts';
import { makeIdentify } from '../../src/gateway/identify.ts';
import { AuthThrottle } from '../../src/http/auth-throttle.ts';
import { NO_BODY } from '../../src/upstream/body.ts';
import { ask } from '../support/ask.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { loadSettings } from '../support/gateway.ts';

const KEYS = [
  { caller: 'billing', key: 'billing-key-0123456789' },
  { caller: 'web', key: 'web-key-0123456789' },
];

const TARGET = { path: '/domains', query: '', sent: '/domains' };

/** Answers each request with the owner and the caller of its ticket. */
async function startIdentifying(withKeys: boolean): Promise<string> {
  const settings = loadSettings({});
  if (settings.kind === 'bad') throw new Error(settings.problems.join('\n'));
  const identify = makeIdentify({
    ...settings.config,
    hasToken: false,
    defaultCaller: undefined,
    callLimits: new CallLimits(1000),
    takeBody: () => NO_BODY,
    viaId: undefined,
    readsAnswers: false,
    drawsOf: () => [{ bucket: { id: 'b', class: 'all' }, cost: undefined, kind: 'class' }],
    learned: { drawsOf: () => undefined },
    callerOfKey: withKeys ? makeCallerOfKey(KEYS, Buffer.from('random')) : undefined,
    isOurHost: () => true,
    forwardedBy: () => undefined,
    callerAddress: () => '127.0.0.1',
    proxyKeys: undefined,
    authThrottle: new AuthThrottle({ clock: new FakeClock(), report: () => undefined }),
  });
  const server = createServer((incoming, outgoing) => {
    const job = identify(new Call('id', incoming, outgoing, 0), TARGET);
    if (job instanceof Promise || job === 'cancelled') {
      throw new Error('the request has no body');
    }
    outgoing.end(`${job.ticket.owner} ${job.ticket.caller}`);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  onTestFinished(() => void server.close());
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return `http://127.0.0.1:${address.port}`;
}

async function ownerOf(url: string, headers: Record<string, string>): Promise<string> {
  return (await ask(`${url}/domains`, { headers })).text;
}

test('with keys, the owner is the caller of the key, whatever name the caller sends', async () => {
  const url = await startIdentifying(true);
  const key = { 'headgate-key': 'billing-key-0123456789' };
  expect(await ownerOf(url, key)).toBe('billing billing');
  expect(await ownerOf(url, { ...key, 'headgate-caller': 'web' })).toBe('billing billing');
  expect(await ownerOf(url, { 'headgate-key': 'web-key-0123456789' })).toBe('web web');
});

test('without keys, the owner is the address, and the caller sends its name', async () => {
  const url = await startIdentifying(false);
  const named = { 'headgate-caller': 'web', 'headgate-key': 'billing-key-0123456789' };
  expect(await ownerOf(url, named)).toBe('127.0.0.1 web');
});
