import type { LookupFunction, Socket } from 'node:net';
import { BlockList, connect, isIP } from 'node:net';
import { lookup } from 'node:dns';
import { ESTABLISHED } from '../../http/proxy-connect.ts';
import type { Clock } from '../../util/clock.ts';
import { NameCounts } from '../../util/name-counts.ts';
import { GatewayError } from '../problem.ts';
import type { RefusedRequest } from '../connections/socket-refusals.ts';

/** Where a tunnel leads, and for which client. */
export interface TunnelTarget {
  readonly host: string;
  readonly port: number;
  readonly address: string;
  /** Whether the client has the key of a known caller, or needs none. */
  readonly isAllowed: () => boolean;
}

/** What the listener does for a tunnel. */
export interface TunnelSteps {
  readonly refuse: (error: GatewayError, request: Omit<RefusedRequest, 'method'>) => void;
  readonly handOver: (to: 'tunnel') => void;
}

/** Passes bytes between clients and hosts that Headgate does not answer for, and reads none. */
export interface Tunnels {
  /** `head` has the bytes behind the CONNECT. */
  open(socket: Socket, head: Buffer, target: TunnelTarget, steps: TunnelSteps): void;
  /** Breaks every tunnel. */
  close(): void;
}

/** Connects to a host. Emits `error` with the code of {@link FORBIDDEN} for an address that it may not use. */
export type Dial = (host: string, port: number) => Socket;

export interface TunnelsDependencies {
  readonly dial: Dial;
  readonly clock: Clock;
  readonly newId: () => string;
  readonly log: { info(line: object, msg: string): void };
}

/** Each takes two sockets of the process, which are a part of its reserve (src/app/open-files.ts). */
export const MAX_TUNNELS = 256;
const MAX_OF_ADDRESS = MAX_TUNNELS / 2;
const DIAL_MS = 10_000;
/**
 * A tunnel is looked at each time this time has passed. It ends if no byte has moved since the last
 * time, and if a reload has removed its client's key.
 */
const CHECK_MS = 5 * 60_000;
/** Tunnels end all the time, so there is room again soon. */
const RETRY_MS = 1000;
const FORBIDDEN = 'EFORBIDDEN';

type End = 'closed' | 'failed' | 'idle' | 'refused';

export function makeTunnels({ dial, clock, newId, log }: TunnelsDependencies): Tunnels {
  /** The far ends of all tunnels, and what ends each. */
  const open = new Map<Socket, () => void>();
  const ofAddress = new NameCounts();

  return {
    open(socket, head, target, { refuse, handOver }) {
      const { host, port, address, isAllowed } = target;
      const path = `${host}:${port}`;
      if (open.size >= MAX_TUNNELS || ofAddress.of(address) >= MAX_OF_ADDRESS) {
        const why = `expected at most ${MAX_TUNNELS} tunnels, and ${MAX_OF_ADDRESS} of one address`;
        const error = new GatewayError('too-many-tunnels', why, { retryAfterMs: RETRY_MS });
        return refuse(error, { path, caller: address });
      }
      if (isIP(host) !== 0 && !isForTunnels(host)) {
        return refuse(forbidden(host), { path, caller: address });
      }
      const startedAt = clock.now();
      const onward = dial(host, port);
      open.set(onward, finish);
      ofAddress.add(address);
      handOver('tunnel');
      let isOpen = false;
      let end: End = 'closed';
      let timer = clock.after(DIAL_MS, () => onward.destroy(new Error('timed out')));
      let moved = -1;

      function check(): void {
        const now = onward.bytesRead + onward.bytesWritten;
        if (now === moved || !isAllowed()) {
          end = now === moved ? 'idle' : 'refused';
          finish();
          return;
        }
        moved = now;
        timer = clock.after(CHECK_MS, check);
      }

      /** Ends the tunnel, and logs it if it was open. */
      function finish(): void {
        if (!open.delete(onward)) return;
        timer.cancel();
        ofAddress.subtract(address);
        onward.destroy();
        if (!isOpen) return;
        socket.destroySoon();
        const { bytesRead: bytesOut, bytesWritten: bytesIn } = onward;
        const totalMs = Math.round(clock.now() - startedAt);
        log.info({ id: newId(), host, port, address, end, totalMs, bytesIn, bytesOut }, 'tunnel');
      }

      onward.once('connect', () => {
        isOpen = true;
        timer.cancel();
        check();
        socket.write(ESTABLISHED);
        if (head.length > 0) onward.write(head);
        onward.pipe(socket);
        socket.pipe(onward);
      });
      onward.on('error', (error: NodeJS.ErrnoException) => {
        if (isOpen) end = 'failed';
        else refuse(dialProblem(error, target), { path, caller: address });
      });
      socket.once('close', () => onward.destroy());
      onward.once('close', finish);
    },
    close() {
      for (const finish of open.values()) finish();
    },
  };
}

function dialProblem({ code, message }: NodeJS.ErrnoException, target: TunnelTarget): GatewayError {
  if (code === FORBIDDEN) return forbidden(target.host);
  return new GatewayError('tunnel-failed', `${target.host} cannot be reached (${code ?? message})`);
}

function forbidden(host: string): GatewayError {
  return new GatewayError(
    'forbidden-target',
    `expected a host beyond this machine and its link, got ${host}`,
  );
}

/**
 * Addresses that a tunnel must not reach: this machine, where listeners trust those who can connect,
 * and its link, where clouds keep a machine's credentials (169.254.169.254).
 */
const NOT_FOR_TUNNELS = new BlockList();
for (const [network, prefix, family] of [
  ['0.0.0.0', 8, 'ipv4'],
  ['127.0.0.0', 8, 'ipv4'],
  ['169.254.0.0', 16, 'ipv4'],
  ['224.0.0.0', 3, 'ipv4'],
  ['::', 127, 'ipv6'],
  ['fe80::', 10, 'ipv6'],
  ['ff00::', 8, 'ipv6'],
  ['fd00:ec2::', 32, 'ipv6'],
] as const) {
  NOT_FOR_TUNNELS.addSubnet(network, prefix, family);
}

/** Whether a tunnel may lead to an address. */
export function isForTunnels(address: string): boolean {
  const version = isIP(address);
  return version !== 0 && !NOT_FOR_TUNNELS.check(address, version === 4 ? 'ipv4' : 'ipv6');
}

/** Connects to the addresses of a host, unless a tunnel must not reach one of them. */
export function dialForTunnels(host: string, port: number): Socket {
  return connect({ host, port, allowHalfOpen: true, lookup: lookupAllowed });
}

const lookupAllowed: LookupFunction = (host, options, done) => {
  lookup(host, options, (error, found, family) => {
    const addresses =
      typeof found === 'string' ? [found] : (found ?? []).map((each) => each.address);
    const isAllowed = error === null && addresses.every(isForTunnels);
    if (isAllowed) done(null, found, family);
    else done(error ?? Object.assign(new Error('not for tunnels'), { code: FORBIDDEN }), '', 0);
  });
};
