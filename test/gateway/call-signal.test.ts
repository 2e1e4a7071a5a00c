import { createServer } from 'node:http';
import { connect } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { Call } from '../../src/gateway/call.ts';
import { GatewayError } from '../../src/gateway/problem.ts';

/** A call on a real connection. */
async function startCall(): Promise<Call> {
  const server = createServer();
  const arrived = new Promise<Call>((resolve) => {
    server.once('request', (incoming, outgoing) => resolve(new Call('id', incoming, outgoing, 0)));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('expected a port');
  const client = connect(address.port, '127.0.0.1');
  onTestFinished(() => {
    client.destroy();
    server.close();
  });
  client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  return arrived;
}

test('the newest listener is called first, and a listener that is removed meanwhile is not called', async () => {
  const call = await startCall();
  const called: string[] = [];
  const removeOldest = call.onGone(() => called.push('oldest'));
  call.onGone(() => called.push('middle'));
  call.onGone(() => {
    called.push('newest');
    removeOldest();
  });
  call.cutOff(new GatewayError('draining', 'cut off by the test'));
  expect(called).toEqual(['newest', 'middle']);
});

test('the wait of a ticket ends first, whatever listeners came after it', async () => {
  const call = await startCall();
  const called: string[] = [];
  call.onGone(() => called.push('wait'), true);
  call.onGone(() => called.push('attempt'));
  call.cutOff(new GatewayError('draining', 'cut off by the test'));
  expect(called).toEqual(['wait', 'attempt']);
});

test('leaving the queue ends the wait of the ticket alone, once', async () => {
  const call = await startCall();
  const called: string[] = [];
  const removeFirst = call.onGone(() => called.push('first wait'), true);
  call.onGone(() => called.push('attempt'));
  call.leaveQueue();
  call.leaveQueue();
  expect(called).toEqual(['first wait']);
  call.onGone(() => called.push('second wait'), true);
  removeFirst();
  call.leaveQueue();
  expect(called).toEqual(['first wait', 'second wait']);
  expect(call.gone).toBe(false);
});
