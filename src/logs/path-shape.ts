const NUMBER = /^\d+$/;
const UUID = /^[\da-f]{8}-(?:[\da-f]{4}-){3}[\da-f]{12}$/i;
const HEX = /^[\da-f]{16,}$/i;
/** No route is longer; it bounds what one key of a summary takes. */
const LONGEST = 200;

/**
 * A path without what tells one object from another: `/domains/17/records` becomes
 * `/domains/*` and what follows. Numbers, UUIDs and long hexadecimal words are such parts.
 */
export function pathShape(path: string): string {
  const shape = path
    .split('/')
    .map((part) => (NUMBER.test(part) || UUID.test(part) || HEX.test(part) ? '*' : part))
    .join('/');
  return shape.length > LONGEST ? `${shape.slice(0, LONGEST)}…` : shape;
}
