/**
 * Error codes in the body of an answer that say that a limit refused the request. APIs that throttle with
 * 400 or 403 and without a header say it there alone: `ThrottlingException`, `userRateLimitExceeded`,
 * `REQUEST_LIMIT_EXCEEDED`.
 */

/** Longer bodies are no error messages. */
export const MAX_ERROR_BODY = 16 * 1024;

/**
 * A code in a member or an XML element that has codes: `"errorCode": "…"`, `<Code>…</Code>`. Other members
 * may repeat what the caller sent, and prose is not read.
 */
const KEY =
  '_*(?:(?:(?:error|exception)[_-]?)?(?:code|type|id)|error[_-]?name|error|exception|reason|status)';
const CODE = new RegExp(
  `"${KEY}"\\s*:\\s*"([a-z][\\w.:#-]{2,80})"|<${KEY}>([a-z][\\w.:#-]{2,80})<`,
  'gi',
);
/** Quotas of a day are not among them, because waiting does not help. */
const THROTTLES =
  /throttl(?:ed|ing)|throttleviolation|ratelimit(?:ed|exceeded|reached|hit|error|exception)|toomanyrequests|^slowdown$|requestlimitexceeded|throughputexceeded/;

/** Whether a body in JSON or XML has such a code. */
export function hasThrottleCode(body: string): boolean {
  if (body.length > MAX_ERROR_BODY) return false;
  for (const [, inJson, inXml] of body.matchAll(CODE)) {
    const code = (inJson ?? inXml ?? '').replace(/[_.:#-]/g, '').toLowerCase();
    if (THROTTLES.test(code)) return true;
  }
  return false;
}
