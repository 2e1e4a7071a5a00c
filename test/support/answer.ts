import type { Dispatcher } from 'undici';
import { UpstreamResponse } from '../../src/upstream/response.ts';

const CONTROLLER: Dispatcher.DispatchController = {
  aborted: false,
  paused: false,
  reason: null,
  rawHeaders: [],
  rawTrailers: [],
  pause: () => undefined,
  resume: () => undefined,
  abort: () => undefined,
};

/** An answer of the API without any body so far. */
export function answerWith(rawHeaders: readonly string[] = []): UpstreamResponse {
  return new UpstreamResponse(200, '', {}, rawHeaders, CONTROLLER);
}
