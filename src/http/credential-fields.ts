/** The field in which a configured token is sent, and the scheme before it; empty for none. */
export interface TokenField {
  readonly name: string;
  readonly scheme: string;
}

/** The value of the field with `token`. */
export function tokenValue({ scheme }: TokenField, token: string): string {
  return scheme === '' ? token : `${scheme} ${token}`;
}

/**
 * Returns what authenticates a request at the API: the value of Authorization, else the first of
 * `fields` with its value; `undefined` if it has none of them. `fields` are in lower case.
 */
export function credentialOf(
  headers: Readonly<Record<string, string | string[] | undefined>>,
  fields: readonly string[],
): string | undefined {
  const { authorization } = headers;
  if (typeof authorization === 'string' && hasCredential(authorization)) return authorization;
  for (const field of fields) {
    const value = headers[field];
    // The name stands where Authorization has its scheme.
    if (value !== undefined) return `${field} ${String(value)}`;
  }
  return undefined;
}

/** A scheme without a credential: clients with an empty token send `token ` or `Bearer `. */
const SCHEME_ALONE = /^(?:token|bearer)?\s*$/i;

/** Whether an Authorization field has a credential. */
export function hasCredential(authorization: string): boolean {
  return !SCHEME_ALONE.test(authorization);
}
