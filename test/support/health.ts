import { headgate, type Ended } from './spawned.ts';

/**
 * Runs `headgate health` with these settings. Its own time limit, which a busy machine may reach, says
 * nothing about the gateway: then it runs again.
 */
export async function health(
  env: Readonly<Record<string, string>>,
  ...args: readonly string[]
): Promise<Ended> {
  for (;;) {
    const ended = await headgate(['health', ...args], { env }).ended();
    if (!ended.stderr.includes('timed out after')) return ended;
  }
}
