import type { SocketPermits } from './ledger.ts';

/** The same sockets for two users, both of whom hear when one came free. */
export function splitSocketPermits(places: SocketPermits): [SocketPermits, SocketPermits] {
  const listeners: (() => void)[] = [];
  places.onFree(() => {
    for (const listener of listeners) listener();
  });
  const share = (): SocketPermits => ({
    get free() {
      return places.free;
    },
    take: () => places.take(),
    onFree: (run) => void listeners.push(run),
  });
  return [share(), share()];
}
