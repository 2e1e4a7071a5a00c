// @module-tag needs-javac
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { Spawned } from '../support/spawned.ts';
import { setUpApi } from './setup.ts';

const CALLS = fileURLToPath(new URL('java/Calls.java', import.meta.url));

test('Java’s HttpClient, whose requests offer an upgrade to h2c, is answered in HTTP/1.1', async () => {
  const { api, gateway } = await setUpApi((incoming, outgoing) => {
    let bytes = 0;
    incoming.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
    });
    incoming.on('end', () => outgoing.end(`${incoming.method} ${bytes}`));
  });
  const { stdout, stderr } = await new Spawned('java', [CALLS, `${gateway.url}/a`]).ended();
  expect(stderr).toBe('');
  expect(stdout.trim().split('\n')).toEqual([
    '200 POST 100000',
    '200 GET 0',
    '200 POST 2000000',
    '200 GET 0',
  ]);
  expect(api.seen.every(({ headers }) => headers.upgrade === undefined)).toBe(true);
});
