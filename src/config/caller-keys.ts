import { parseDocument } from 'yaml';
import { messageOf } from '../util/message-of.ts';
import { callerName, secret, type Kind } from './values.ts';

/** A key that a caller sends, and the name that the key proves. A name may have several keys. */
export interface CallerKey {
  readonly caller: string;
  readonly key: string;
}

/** A longer list of keys is rejected as a mistake. */
const MAX_KEYS = 10_000;

/** The keys in an environment variable: `billing=KEY,web=KEY`. */
export const callerKeys: Kind<readonly CallerKey[]> = {
  expected: `name=key pairs with commas between, no key twice, each key ${secret.expected.replace('at least', 'of at least')} and commas`,
  parse(value) {
    const pairs = pairsIn(value);
    return problemWith(pairs) === undefined ? pairs : undefined;
  },
  problem(value) {
    const parts = value.split(',');
    const bare = parts.findIndex((part) => !part.includes('='));
    return bare < 0
      ? problemWith(pairsIn(value))
      : `expected name=key pairs with commas between, got part ${bare + 1} of ${parts.length} without =`;
  },
};

function pairsIn(value: string): readonly CallerKey[] {
  return value.split(',').map((pair): CallerKey => {
    const [, caller = '', key = ''] = /^\s*([^=]*)=(.*?)\s*$/s.exec(pair) ?? [];
    return { caller, key };
  });
}

/**
 * Reads the keys from a file: a YAML or JSON map from name to key, or to a list of keys during a key
 * rotation. Problems name the caller, never a key.
 */
export function readCallerKeysFile(
  path: string,
  readFile: (path: string) => string,
): { readonly keys: readonly CallerKey[]; readonly problems: readonly string[] } {
  const bad = (problem: string): ReturnType<typeof readCallerKeysFile> => ({
    keys: [],
    problems: [`HEADGATE_CALLER_KEYS_FILE: ${problem}`],
  });
  let text: string;
  try {
    text = readFile(path);
  } catch (error) {
    return bad(`expected a readable file, got: ${messageOf(error)}`);
  }
  // In this schema every scalar is a text, so a key of digits is not a number. The parser's messages
  // quote the file, so a problem shows only the error's code.
  const document = parseDocument(text, { schema: 'failsafe', prettyErrors: false });
  const [error] = document.errors;
  if (error !== undefined) return bad(`expected valid YAML, got an error: ${error.code}`);
  const content: unknown = document.toJS({ maxAliasCount: 0 });
  if (typeof content !== 'object' || content === null || Array.isArray(content)) {
    return bad('expected a map such as "billing: KEY", one caller per line');
  }
  const keys: CallerKey[] = [];
  for (const [caller, value] of Object.entries(content)) {
    const values: unknown[] = Array.isArray(value) ? value : [value];
    for (const key of values) {
      if (typeof key !== 'string') {
        return bad(`${shorten(caller)}: expected a key or a list of keys`);
      }
      keys.push({ caller, key });
    }
  }
  const problem = problemWith(keys);
  return problem === undefined ? { keys, problems: [] } : bad(problem);
}

function problemWith(pairs: readonly CallerKey[]): string | undefined {
  if (pairs.length === 0) return 'expected at least one caller, got none';
  if (pairs.length > MAX_KEYS) return `expected at most ${MAX_KEYS} keys, got ${pairs.length}`;
  const seen = new Map<string, string>();
  for (const { caller, key } of pairs) {
    if (callerName.parse(caller) === undefined) {
      return `expected a name of ${callerName.expected}, got ${JSON.stringify(shorten(caller))}`;
    }
    if (secret.parse(key) === undefined || key.includes(',')) {
      return `${shorten(caller)}: expected a key of ${secret.expected} and commas, got ${key.length} characters that are not`;
    }
    const other = seen.get(key);
    if (other !== undefined) {
      return `${shorten(caller)}: expected a unique key, got the key of ${shorten(other)}`;
    }
    seen.set(key, caller);
  }
  return undefined;
}

/** Shows only the start of a long name, because it may be a key in the wrong place. */
function shorten(name: string): string {
  return name.length > 12 ? `${name.slice(0, 12)}…` : name;
}
