/** An error as a log line has it. */
export interface ErrorDescription {
  readonly type: string;
  readonly message: string;
  readonly code?: string;
  readonly stack?: string;
  readonly cause?: ErrorDescription;
}

const MOST_MESSAGE = 1000;
const MOST_STACK = 8000;
const MOST_CAUSES = 4;

/**
 * What the log says of an error: these fields and no others, each bounded. Errors carry more that is
 * nobody's to read: the parser's has the bytes of the API's answer that it stumbled over, a
 * certificate's has all of the certificate.
 */
export function describeError(error: unknown, depth = 0): ErrorDescription {
  if (!(error instanceof Error)) {
    return { type: typeof error, message: String(error).slice(0, MOST_MESSAGE) };
  }
  const { name, message, stack, cause } = error;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined;
  return {
    type: name,
    message: message.slice(0, MOST_MESSAGE),
    ...(code === undefined ? {} : { code }),
    ...(stack === undefined ? {} : { stack: stack.slice(0, MOST_STACK) }),
    ...(cause === undefined || depth === MOST_CAUSES
      ? {}
      : { cause: describeError(cause, depth + 1) }),
  };
}
