import type { Places } from './ledger.ts';

/** The same sockets for two users, both of whom hear when one came free. */
export function splitPlaces(places: Places): [Places, Places] {
  const listeners: (() => void)[] = [];
  places.onFree(() => {
    for (const listener of listeners) listener();
  });
  const share = (): Places => ({
    get free() {
      return places.free;
    },
    take: () => places.take(),
    onFree: (run) => void listeners.push(run),
  });
  return [share(), share()];
}
