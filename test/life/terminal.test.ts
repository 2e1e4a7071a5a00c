// @module-tag needs-script
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { expect, onTestFinished, test } from 'vitest';
import { ask } from '../support/ask.ts';
import { until } from '../support/setup.ts';
import { ROOT } from '../support/spawned.ts';

/** The characters of Ctrl-S, which stops a terminal's output, and Ctrl-Q, which resumes it. */
const CTRL = { s: '\u0013', q: '\u0011' };

interface Terminal {
  readonly url: string;
  type(text: string): void;
  /** The output that the terminal has shown so far. */
  shown(): string;
  /** Closes the terminal, like the close of its window. */
  close(): void;
}

/** Starts the gateway in a terminal of its own, which the program `script` holds. */
async function startInTerminal(upstreamUrl = 'http://127.0.0.1:9'): Promise<Terminal> {
  const gateway = `"${process.execPath}" "${ROOT}src/main.ts" serve`;
  const script = spawn('script', ['-q', '-e', '-c', `exec ${gateway}`, '/dev/null'], {
    env: {
      PATH: process.env['PATH'] ?? '',
      HEADGATE_UPSTREAM_URL: upstreamUrl,
      HEADGATE_LISTEN: '127.0.0.1:0',
      HEADGATE_ADMIN_LISTEN: 'off',
    },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  // The gateway ends with its terminal, as the last test shows.
  onTestFinished(() => void script.kill('SIGKILL'));
  let shown = '';
  script.stdout.setEncoding('utf8').on('data', (chunk: string) => (shown += chunk));
  await until('the gateway listens', () => shown.includes('Ctrl-C stops the gateway'));
  return {
    url: /for callers: +(\S+)/.exec(shown)?.[1] ?? '',
    type: (text) => void script.stdin.write(text),
    shown: () => shown,
    close: () => void script.kill('SIGKILL'),
  };
}

/** Whether the gateway answers a call, of which it logs a line of a little more than `size`. */
async function answers(url: string, size = 0): Promise<boolean> {
  try {
    const headers = { 'headgate-priority': 'x' };
    return (await ask(`${url}/?${'x'.repeat(size)}`, { headers })).status === 400;
  } catch {
    return false;
  }
}

test('a terminal whose output is stopped does not stop the gateway', async () => {
  const terminal = await startInTerminal();
  terminal.type(CTRL.s);
  // Far more than a terminal holds.
  for (let i = 0; i < 100; i++) expect(await answers(terminal.url, 8000)).toBe(true);
  terminal.type(CTRL.q);
  const lines = (): number => terminal.shown().split('"msg":"call"').length - 1;
  await until('the terminal shows all lines', () => lines() === 100);
});

test('a gateway whose terminal is closed stops, and does not reload its settings', async () => {
  const terminal = await startInTerminal();
  expect(await answers(terminal.url)).toBe(true);
  terminal.close();
  await until('the gateway stops', async () => !(await answers(terminal.url)));
});

test('an API cannot control the terminal by a header that the log shows', async () => {
  const api = createServer((_incoming, outgoing) => {
    outgoing.setHeader('x-ratelimit-limit', '80');
    // A sequence that would clear the screen, from a character that JSON does not escape.
    outgoing.setHeader('x-ratelimit-remaining', 'x\u009B2J');
    outgoing.setHeader('x-ratelimit-reset', 'soon');
    outgoing.end();
  });
  api.listen(0, '127.0.0.1');
  await once(api, 'listening');
  onTestFinished(() => void api.close());
  const address = api.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const terminal = await startInTerminal(`http://127.0.0.1:${address.port}`);
  await ask(`${terminal.url}/domains`, { headers: { authorization: 'token t' } });
  await until('the log shows the header', () => terminal.shown().includes('doubtful rate headers'));
  expect(terminal.shown()).toContain('x\\u009b2J');
  expect(terminal.shown().replaceAll(/\r?\n/g, '')).not.toMatch(/[\p{Cc}\p{Cf}]/u);
});
