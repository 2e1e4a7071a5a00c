/** RFC 9110 §9.2.2, without TRACE, which is not supported. */
const IDEMPOTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE']);

/** Whether a request with this method may be repeated although it may have been executed. */
export function isIdempotent(method: string): boolean {
  return IDEMPOTENT.has(method);
}
