import { ask } from './ask.ts';
import type { FakeClock } from './fake-clock.ts';
import type { TestGateway } from './gateway.ts';
import { bucketsOf, until } from './setup.ts';

export interface Abandoned {
  readonly userAgent?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** The address to call from. */
  readonly from?: string;
}

/**
 * Sends requests that have to wait, one after the other, and gives each of them up when it is as old
 * as `ages` says.
 */
export async function giveUp(
  gateway: TestGateway,
  clock: FakeClock,
  ages: readonly number[],
  { userAgent = 'tool/1', headers = {}, from }: Abandoned = {},
): Promise<void> {
  for (const ageMs of ages) {
    const timeout = new AbortController();
    const ended = gateway.log.count('call');
    const request = ask(`${gateway.url}/a`, {
      headers: { 'user-agent': userAgent, ...headers },
      signal: timeout.signal,
      ...(from === undefined ? {} : { from }),
    }).catch(() => undefined);
    await until('it waits', async () => (await bucketsOf(gateway)).some((one) => one.waiting > 0));
    clock.advance(ageMs);
    timeout.abort();
    await request;
    await until('the call has ended', () => gateway.log.count('call') > ended);
  }
}
