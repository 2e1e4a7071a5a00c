import { hasThrottleCode, MAX_ERROR_BODY } from '../../rate-headers/throttle-codes.ts';
import type { HeaderRecord } from '../../rate-headers/rate-headers.ts';
import { isJson } from '../../http/media-type.ts';
import type { UpstreamResponse } from '../../upstream/response.ts';
import type { Clock } from '../../util/clock.ts';
import { codingOf, CODINGS } from '../respond/content-codings.ts';

const XML_TYPE = /^(?:application|text)\/(?:[\w.+-]+\+)?xml(?:\s*;|$)/i;

/**
 * Whether the body of an answer may say that the API throttles: its status is one of `statuses`, no
 * header says until when to wait, and it is a short error message.
 */
export function mayThrottleInBody(
  { status, headers }: UpstreamResponse,
  statuses: readonly number[],
): boolean {
  if (status < 400 || headers['retry-after'] !== undefined || !statuses.includes(status)) {
    return false;
  }
  const length = headers['content-length'];
  if (Number(length ?? 0) > MAX_ERROR_BODY || !CODINGS.has(codingOf(headers))) return false;
  return isJson(headers['content-type']) || isXml(headers);
}

/** How long the body may take. Error messages arrive with their heads; others must not wait for it. */
const MAX_BODY_MS = 1000;

/**
 * Waits for the body of such an answer, which stays there for the caller, and reads whether it says that
 * the API throttles. Never rejects.
 */
export async function throttlesInBody(response: UpstreamResponse, clock: Clock): Promise<boolean> {
  await response.gatherInTime(MAX_ERROR_BODY, MAX_BODY_MS, clock);
  if (response.failure !== undefined || !response.isWhole) return false;
  const bytes = response.gathered;
  const coding = CODINGS.get(codingOf(response.headers));
  try {
    const plain = coding === undefined ? bytes : await coding.decode(bytes, MAX_ERROR_BODY);
    return hasThrottleCode(plain.toString('latin1'));
  } catch {
    // What cannot be decoded is passed on as it is, and says nothing.
    return false;
  }
}

function isXml({ 'content-type': type }: HeaderRecord): boolean {
  return typeof type === 'string' && XML_TYPE.test(type);
}
