/** The default urgency (RFC 9218 §4.1). */
const NORMAL = 3;
/** `u=1`, also among other parameters: `i, u=1;x`. The last one counts (RFC 9651 §3.2). */
const URGENCY = /(?:^|,)[ \t]*u=(\d)(?=[ \t]*(?:[,;]|$))/g;

/**
 * The priority that the field Priority requests (RFC 9218): its urgencies 0 to 2 are high, 3 is
 * normal, 4 to 7 are low. `undefined` if there is none, or a malformed one, which is ignored.
 */
export function readUrgency(field: string | undefined): 'high' | 'normal' | 'low' | undefined {
  if (field === undefined || field.length > 256) return undefined;
  const urgency = Number([...field.matchAll(URGENCY)].at(-1)?.[1] ?? Number.NaN);
  if (!(urgency <= 7)) return undefined;
  return urgency < NORMAL ? 'high' : urgency === NORMAL ? 'normal' : 'low';
}
