import { onTestFinished } from 'vitest';
import { startAzion, type Azion, type AzionOptions } from './azion.ts';
import { startGateway, type GatewayOptions, type TestGateway } from './gateway.ts';

export interface Setup {
  readonly azion: Azion;
  readonly gateway: TestGateway;
}

/**
 * An API and a gateway in front of it, for one test, which closes both when it ends. They share the
 * clock, if one is given.
 */
export async function setUp(
  api: AzionOptions = {},
  options: Omit<GatewayOptions, 'upstream'> = {},
): Promise<Setup> {
  const azion = await startAzion({
    ...(options.clock === undefined ? {} : { clock: options.clock }),
    ...api,
  });
  onTestFinished(() => azion.close());
  const gateway = await startGateway({ upstream: azion.url, ...options });
  onTestFinished(() => gateway.stop());
  return { azion, gateway };
}

/** A bucket as the admin listener tells of it. */
export interface BucketLine {
  readonly id: string;
  readonly class: string;
  readonly limit?: number;
  readonly remaining?: number;
  readonly resetInMs?: number;
  readonly blockedForMs?: number;
  readonly leases: number;
  readonly waiting: number;
  readonly waitingByCaller: Readonly<Record<string, number>>;
}

/** What `GET /buckets` says now. */
export async function bucketsOf({ adminUrl }: { adminUrl: string }): Promise<BucketLine[]> {
  const answer = await fetch(`${adminUrl}/buckets`);
  const { buckets }: { buckets: BucketLine[] } = JSON.parse(await answer.text());
  return buckets;
}

/** Resolves when `done` says so; it is asked again and again, for at most ten seconds. */
export async function until(
  what: string,
  done: () => boolean | Promise<boolean>,
  { withinMs = 10_000, everyMs = 5 } = {},
): Promise<void> {
  const giveUpAt = performance.now() + withinMs;
  while (!(await done())) {
    if (performance.now() > giveUpAt) throw new Error(`waited in vain until ${what}`);
    await new Promise((resolve) => {
      setTimeout(resolve, everyMs);
    });
  }
}
