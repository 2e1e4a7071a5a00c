import { readFileSync } from 'node:fs';
import type { Authority, OpenedAuthority, PemPair } from '../certificates/authority.ts';
import type { InterceptConfig } from '../config/intercept.ts';
import { SettingProblem } from '../config/setting-problem.ts';
import type { HostCertificates } from '../gateway/proxy/host-tls.ts';
import type { Log } from '../telemetry/log.ts';
import { watchPath } from '../upstream/watched-file.ts';
import type { Clock, Timer } from '../util/clock.ts';

const DAY_MS = 24 * 60 * 60_000;
/** Short, since no list of revoked certificates exists; renewed each day, for clocks that are wrong. */
const LIFETIME_MS = 7 * DAY_MS;
const SOON_MS = 30 * DAY_MS;

export interface HostCertificatesOptions {
  readonly intercept: Pick<InterceptConfig, 'ca' | 'hosts'>;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Issues the certificates of the intercepted hosts: at the start, each day, and when the authority's
 * files change. There is one for each host in the settings, so their number is bounded. Rejects with
 * a {@link SettingProblem} if the authority cannot be used.
 */
export async function makeHostCertificates({
  intercept: { ca, hosts },
  clock,
  log,
}: HostCertificatesOptions): Promise<HostCertificates & { close(): void }> {
  // Imported only where it is used: it takes a tenth of a second.
  const { openAuthority } = await import('../certificates/authority.ts');
  const open = (): OpenedAuthority =>
    openAuthority(
      { cert: readFileSync(ca.cert, 'utf8'), key: readFileSync(ca.key, 'utf8') },
      hosts,
      clock.wallMs(),
    );
  const opened = open();
  if (opened.kind === 'bad') {
    throw new SettingProblem(`HEADGATE_INTERCEPT_CA_CERT: ${opened.problem}`);
  }
  let certificates = issueAll(opened.authority);
  let onChange = (): void => undefined;
  let timer: Timer = clock.after(DAY_MS, renew);
  warnOf(opened.authority);
  const stops = [ca.cert, ca.key].map((path) => watchPath(path, reread));

  function issueAll(authority: Authority): ReadonlyMap<string, PemPair> {
    const nowMs = clock.wallMs();
    return new Map(hosts.map((host) => [host, authority.issue([host], nowMs, LIFETIME_MS)]));
  }

  function warnOf({ expiresAtMs, names }: Authority): void {
    const expires = new Date(expiresAtMs).toISOString();
    if (expiresAtMs - clock.wallMs() < SOON_MS) {
      log.warn({ cert: ca.cert, expires }, 'authority expires soon');
    }
    if (names === undefined) log.warn({ cert: ca.cert }, 'authority without name constraints');
  }

  /** Issues all anew; if the authority cannot be used, the last ones stay. */
  function replaceAll(): boolean {
    try {
      const next = open();
      if (next.kind === 'bad') throw new Error(next.problem);
      certificates = issueAll(next.authority);
      warnOf(next.authority);
      onChange();
      return true;
    } catch (err) {
      log.error({ ...ca, err }, 'certificate unusable: keeping the last one');
      return false;
    }
  }

  function renew(): void {
    timer = clock.after(DAY_MS, renew);
    replaceAll();
  }

  function reread(): void {
    if (replaceAll()) log.info({ cert: ca.cert }, 'certificate re-read');
  }

  return {
    of(host) {
      const pair = certificates.get(host);
      if (pair === undefined) throw new Error(`${host} is not intercepted`);
      return pair;
    },
    onChange(run) {
      onChange = run;
    },
    close() {
      timer.cancel();
      for (const stop of stops) stop();
    },
  };
}
